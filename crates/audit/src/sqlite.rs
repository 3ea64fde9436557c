//! Copying from a database of SQLite, whoever has opened it.

use rusqlite::{
    Connection, ErrorCode,
    types::{Value, ValueRef},
};
use uuid::Uuid;

use crate::{
    Database, Failure, ROWS_AT_ONCE, Scratch,
    tables::{Kind, TABLES, Table},
};

/// Copies a database's tables. What is read as of one instant is its caller's to
/// say, by a transaction.
///
/// # Errors
/// [`Failure`].
pub fn copy(source: &Connection, database: Database, scratch: &mut Scratch) -> Result<(), Failure> {
    let tables = TABLES.iter().filter(|table| table.database == database);
    tables.into_iter().try_for_each(|table| copy_table(source, table, scratch))
}

fn copy_table(source: &Connection, table: &Table, scratch: &mut Scratch) -> Result<(), Failure> {
    let expressions: Vec<&str> =
        table.columns.iter().map(|(_, expression, _)| *expression).collect();
    let sql = format!("SELECT {} FROM {}", expressions.join(", "), table.source);
    let mut statement = source.prepare(&sql).map_err(Failure::of_sqlite)?;
    let mut rows = statement.query([]).map_err(Failure::of_sqlite)?;
    let mut batch = Vec::with_capacity(ROWS_AT_ONCE);
    while let Some(row) = rows.next().map_err(Failure::of_sqlite)? {
        let values = table.columns.iter().enumerate().map(|(place, (_, expression, kind))| {
            let value = row.get_ref(place).map_err(Failure::of_sqlite)?;
            kind.of_sqlite(value).ok_or_else(|| {
                Failure::Source(format!("{} in {} is no {kind:?}", expression, table.source))
            })
        });
        batch.push(values.collect::<Result<Vec<Value>, Failure>>()?);
        if batch.len() == ROWS_AT_ONCE {
            table.put(std::mem::take(&mut batch), scratch)?;
        }
    }
    table.put(batch, scratch)
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
    /// Of a database of SQLite, with what may be done about it.
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
