//! Copies tables from an SQLite database that the caller has opened.

use rusqlite::{
    Connection, ErrorCode,
    types::{Value, ValueRef},
};
use uuid::Uuid;

use crate::{Column, Database, Failure, Kind, Scratch, TABLES, Table};

/// Copies a database's tables. The caller's transaction makes all of them copies of one instant.
///
/// # Errors
/// [`Failure`].
pub fn copy(source: &Connection, database: Database, scratch: &mut Scratch) -> Result<(), Failure> {
    let mut tables = TABLES.iter().filter(|table| table.database == database);
    tables.try_for_each(|table| copy_table(source, table, scratch))
}

fn copy_table(source: &Connection, table: &Table, scratch: &mut Scratch) -> Result<(), Failure> {
    let (columns, insert): (Vec<Column>, _) = (table.columns().collect(), table.insert());
    let expressions: Vec<&str> = columns.iter().map(|column| column.expression).collect();
    let sql = format!("SELECT {} FROM {}", expressions.join(", "), table.source);
    let mut statement = source.prepare(&sql).map_err(Failure::of_sqlite)?;
    let mut rows = statement.query([]).map_err(Failure::of_sqlite)?;
    while let Some(row) = rows.next().map_err(Failure::of_sqlite)? {
        let values = columns.iter().enumerate().map(|(index, column)| {
            let Column { expression, kind, .. } = column;
            let value = row.get_ref(index).map_err(Failure::of_sqlite)?;
            kind.of_sqlite(value).ok_or_else(|| {
                Failure::Source(format!("{expression} in {} is no {kind:?}", table.source))
            })
        });
        scratch.put(&insert, values.collect::<Result<_, _>>()?)?;
    }
    Ok(())
}

impl Kind {
    fn of_sqlite(self, value: ValueRef<'_>) -> Option<Value> {
        match (self, value) {
            (_, ValueRef::Null) => Some(Value::Null),
            (Self::Integer, ValueRef::Integer(number)) => Some(Value::Integer(number)),
            (Self::Id, ValueRef::Blob(bytes)) => {
                Some(Value::Text(Uuid::from_slice(bytes).ok()?.to_string()))
            }
            (Self::Bytes, ValueRef::Blob(bytes)) => {
                Some(Value::Text(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
            }
            (Self::Text, ValueRef::Text(text)) => {
                Some(Value::Text(String::from_utf8_lossy(text).into_owned()))
            }
            (Self::Outcome, ValueRef::Text(text)) => {
                Some(Self::outcome(&String::from_utf8_lossy(text)))
            }
            (Self::Integer | Self::Id | Self::Bytes | Self::Text | Self::Outcome, _) => None,
        }
    }
}

impl Failure {
    /// Describes an error of an SQLite database, with a hint what may be done about it.
    #[must_use]
    pub fn of_sqlite(error: rusqlite::Error) -> Self {
        let hint = match error.sqlite_error_code() {
            Some(ErrorCode::CannotOpen) => " (is that the right directory?)",
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                " (it is damaged, or no database)"
            }
            _ => "",
        };
        Failure::Source(format!("{error}{hint}"))
    }
}
