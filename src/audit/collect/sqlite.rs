//! Reading a file of SQLite, which another process may be writing.

use std::{path::Path, time::Duration};

use rusqlite::{
    Connection, ErrorCode, OpenFlags,
    types::{Value, ValueRef},
};
use uuid::Uuid;

use super::{
    Database, Failure, Pulse, ROWS_AT_ONCE,
    tables::{Kind, TABLES, Table},
};
use crate::audit::scratch::Scratch;

/// How long a writer is waited for, where that is needed at all: a reader of a write-ahead log waits for nobody.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Copies a file's tables in one read transaction.
pub(super) fn read(
    path: &Path,
    database: Database,
    mut scratch: Scratch,
) -> Result<Scratch, Failure> {
    let source = open(path).map_err(refused)?;
    source.execute_batch("BEGIN").map_err(refused)?;
    for table in TABLES.iter().filter(|table| table.database == database) {
        copy(&source, table, &mut scratch)?;
    }
    Ok(scratch)
}

pub(super) fn pulse(path: &Path) -> Result<Pulse, Failure> {
    let source = open(path).map_err(refused)?;
    let row = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
    source.query_row(Pulse::SQL, [], row).map(Pulse::new).map_err(refused)
}

/// Opens it so that nothing of it can be changed.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(path, flags)?;
    source.busy_timeout(BUSY_TIMEOUT)?;
    Ok(source)
}

fn copy(source: &Connection, table: &Table, scratch: &mut Scratch) -> Result<(), Failure> {
    let expressions: Vec<&str> =
        table.columns.iter().map(|(_, expression, _)| *expression).collect();
    let sql = format!("SELECT {} FROM {}", expressions.join(", "), table.source);
    let mut statement = source.prepare(&sql).map_err(refused)?;
    let mut rows = statement.query([]).map_err(refused)?;
    let mut batch = Vec::with_capacity(ROWS_AT_ONCE);
    while let Some(row) = rows.next().map_err(refused)? {
        let values = table.columns.iter().enumerate().map(|(place, (_, expression, kind))| {
            let value = row.get_ref(place).map_err(refused)?;
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

fn refused(error: rusqlite::Error) -> Failure {
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => " (is that the right directory?)",
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            " (it is damaged, or no database)"
        }
        _ => "",
    };
    Failure::Source(format!("{error}{hint}"))
}
