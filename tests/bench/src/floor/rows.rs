//! Rows as they are in a system's tables, without a type of the program that wrote them.

use std::collections::HashMap;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    /// The id of the row's saga, which is the order's as well.
    Saga,
    Text(String),
    Small(i16),
    Int(i32),
    Big(i64),
    Bytes(Vec<u8>),
    Time(DateTime<Utc>),
    Flag(bool),
}

/// A column, with its type as the database calls it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) sql_type: String,
}

/// One table's rows of some sagas.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: HashMap<Uuid, Vec<Vec<Value>>>,
}

/// All of them, by name. Each participant has an `inbox` of its own.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables(HashMap<(&'static str, &'static str), Table>);

impl Table {
    pub(super) fn column(&self, name: &str) -> anyhow::Result<usize> {
        let found = self.columns.iter().position(|column| column.name == name);
        found.with_context(|| format!("there is no column {name}: the floor's plan is stale"))
    }

    pub(super) fn of(&self, saga: Uuid) -> &[Vec<Value>] {
        self.rows.get(&saga).map(Vec::as_slice).unwrap_or_default()
    }
}

impl Tables {
    pub(super) fn put(&mut self, database: &'static str, name: &'static str, table: Table) {
        self.0.insert((database, name), table);
    }

    pub(super) fn get(&self, database: &'static str, name: &'static str) -> anyhow::Result<&Table> {
        self.0.get(&(database, name)).with_context(|| format!("no table {name} was read"))
    }
}

impl Value {
    pub(super) fn is_text(&self, text: &str) -> bool {
        matches!(self, Self::Text(own) if own == text)
    }

    pub(super) fn number(&self) -> Option<i64> {
        match self {
            Self::Small(n) => Some((*n).into()),
            Self::Int(n) => Some((*n).into()),
            Self::Big(n) => Some(*n),
            Self::Null
            | Self::Saga
            | Self::Text(_)
            | Self::Bytes(_)
            | Self::Time(_)
            | Self::Flag(_) => None,
        }
    }
}
