//! Reads an SQLite file, to which another process may be writing.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags};
use saga_audit::{Database, Failure, Scratch, copy};

use super::Pulse;

/// Longest wait for a writer's lock. With a write-ahead log, readers do not have to wait at all.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Copies a file's tables in one read transaction.
pub(super) fn read(
    path: &Path,
    database: Database,
    mut scratch: Scratch,
) -> Result<Scratch, Failure> {
    let source = open(path).map_err(Failure::of_sqlite)?;
    source.execute_batch("BEGIN").map_err(Failure::of_sqlite)?;
    copy(&source, database, &mut scratch)?;
    Ok(scratch)
}

pub(super) fn pulse(path: &Path) -> Result<Pulse, Failure> {
    let source = open(path).map_err(Failure::of_sqlite)?;
    let row = |row: &rusqlite::Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?]);
    source.query_row(Pulse::SQL, [], row).map(Pulse::new).map_err(Failure::of_sqlite)
}

/// Opens the file for reading only.
fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(path, flags)?;
    source.busy_timeout(BUSY_TIMEOUT)?;
    Ok(source)
}
