//! The ledger's file: how it is opened, checked and laid out.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::error::RunError;

/// The file in the data directory.
pub(crate) const FILE_NAME: &str = "provider.sqlite";
/// The schema that this binary writes (`PRAGMA user_version`).
const SCHEMA_VERSION: i64 = 1;
/// "SAGP": tells our file from another program's database (`PRAGMA application_id`).
const APPLICATION_ID: i64 = 0x5341_4750;
/// How long we wait for another process (an auditor, an operator's shell) that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The write-ahead log is folded back after so many pages (16 MiB): rarely enough that batches do not feel it.
const CHECKPOINT_PAGES: i64 = 4_096;
/// Every statement of ours stays prepared.
const PREPARED_STATEMENTS: usize = 32;

/// Version 1. An auditor reads these tables from outside with its own SQL, so they are part of the contract.
///
/// - `payments`: one row a created payment, declined ones included. `status` is 'authorised', 'declined', 'captured' or
///   'cancelled'; `decline_code` is set exactly for 'declined'. `on_capture` is what the card does at its capture
///   ('capture', 'lose_answer', 'decline'); the token itself is never stored. There are no totals here.
/// - `ledger`: what moved money, in order, never updated and never deleted: 'authorised', 'captured', 'cancelled' (with the
///   payment's whole amount) and 'refunded'. A declined payment has no line. Captured and refunded are sums over it.
/// - `operations`: the answer to every `POST` that the ledger decided, under its idempotency key: refusals and declines
///   too. `body` is the JSON that was sent.
/// - `attempts`: how often a key was tried while `tok_down` still had to say 503; only such keys have a row.
///
/// Amounts are minor units; `created_at` and `at` are Unix milliseconds of this process's clock.
const VERSION_1: &str = "
    CREATE TABLE payments (
        id              TEXT PRIMARY KEY,
        reference       TEXT NOT NULL,
        amount          INTEGER NOT NULL CHECK (amount > 0),
        currency        TEXT NOT NULL,
        status          TEXT NOT NULL CHECK (status IN ('authorised', 'declined', 'captured', 'cancelled')),
        decline_code    TEXT CHECK ((decline_code IS NOT NULL) = (status = 'declined')),
        on_capture      TEXT NOT NULL CHECK (on_capture IN ('capture', 'lose_answer', 'decline')),
        idempotency_key TEXT NOT NULL UNIQUE,
        created_at      INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE ledger (
        seq             INTEGER PRIMARY KEY,
        payment_id      TEXT NOT NULL REFERENCES payments (id),
        kind            TEXT NOT NULL CHECK (kind IN ('authorised', 'captured', 'cancelled', 'refunded')),
        amount          INTEGER NOT NULL CHECK (amount > 0),
        currency        TEXT NOT NULL,
        idempotency_key TEXT NOT NULL UNIQUE,
        at              INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX ledger_by_payment ON ledger (payment_id);
    CREATE UNIQUE INDEX ledger_once ON ledger (payment_id, kind) WHERE kind <> 'refunded';
    CREATE TABLE operations (
        idempotency_key TEXT PRIMARY KEY,
        request_hash    BLOB NOT NULL,
        status          INTEGER NOT NULL,
        body            TEXT NOT NULL,
        at              INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE attempts (
        idempotency_key TEXT PRIMARY KEY,
        count           INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";

/// Opens the ledger in `data_dir` for writing; makes directory, file and tables where they are missing.
pub(crate) fn open(data_dir: &Path) -> Result<Connection, RunError> {
    std::fs::create_dir_all(data_dir).map_err(|error| RunError::DataDirectory {
        path: data_dir.to_owned(),
        reason: error.to_string(),
    })?;
    let path = data_dir.join(FILE_NAME);
    let prepared = Connection::open(&path).and_then(|mut connection| {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
        let verdict = migrate(&mut connection, &path)?;
        Ok(verdict.map(|()| connection))
    });
    match prepared {
        Ok(connection) => connection,
        Err(error) => Err(refused(&path, error)),
    }
}

/// A ledger in memory.
pub(crate) fn in_memory() -> Result<Connection, RunError> {
    let opened = Connection::open_in_memory().and_then(|connection| {
        connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.execute_batch(VERSION_1)?;
        Ok(connection)
    });
    opened.map_err(|error| refused(Path::new(":memory:"), error))
}

/// A second connection that can only read, and so sees only what is committed.
pub(crate) fn open_to_read(data_dir: &Path) -> Result<Connection, RunError> {
    let path = data_dir.join(FILE_NAME);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(&path, flags).and_then(|connection| {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
        Ok(connection)
    });
    opened.map_err(|error| refused(&path, error))
}

/// The outer error is SQLite's, the inner one a file that we must not touch. Looks before it changes anything: a file that
/// is somebody else's, or newer than we are, is left byte for byte as it was.
fn migrate(connection: &mut Connection, path: &Path) -> rusqlite::Result<Result<(), RunError>> {
    if let Err(refusal) = check(connection, path)? {
        return Ok(Err(refusal));
    }
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if pragma(&transaction, "user_version")? == 0 {
        transaction.execute_batch(VERSION_1)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    Ok(Ok(()))
}

fn check(connection: &Connection, path: &Path) -> rusqlite::Result<Result<(), RunError>> {
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && pragma(connection, "application_id")? != APPLICATION_ID {
        return Ok(Err(RunError::Foreign { path: path.to_owned() }));
    }
    let found = pragma(connection, "user_version")?;
    if found > SCHEMA_VERSION {
        return Ok(Err(RunError::SchemaTooNew {
            path: path.to_owned(),
            found,
            supported: SCHEMA_VERSION,
        }));
    }
    Ok(Ok(()))
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

fn refused(path: &Path, error: rusqlite::Error) -> RunError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            RunError::DataDirectory {
                path: path.parent().map(Path::to_owned).unwrap_or_default(),
                reason: error.to_string(),
            }
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            RunError::Corrupt { path, reason: error.to_string() }
        }
        _ => RunError::Database { path, source: Box::new(error) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        std::fs::write(&file, "in the way").expect("a file");
        let error = open(&file.join("data")).expect_err("a file is in the way");
        assert!(matches!(error, RunError::DataDirectory { .. }), "{error}");
    }

    #[test]
    fn a_file_that_is_no_database_is_called_corrupt_and_left_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let garbage = "no database, whatever its name says\n".repeat(100);
        std::fs::write(dir.path().join(FILE_NAME), &garbage).expect("a file");
        let error = open(dir.path()).expect_err("not a database");
        assert!(matches!(error, RunError::Corrupt { .. }), "{error}");
        assert_eq!(
            std::fs::read_to_string(dir.path().join(FILE_NAME)).expect("still there"),
            garbage
        );
    }

    #[test]
    fn a_schema_newer_than_the_binary_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let connection = open(dir.path()).expect("a new ledger");
        connection
            .pragma_update(None, "user_version", SCHEMA_VERSION + 1)
            .expect("a newer version");
        drop(connection);
        let error = open(dir.path()).expect_err("too new");
        assert!(matches!(error, RunError::SchemaTooNew { found: 2, supported: 1, .. }), "{error}");
    }

    #[test]
    fn another_programs_database_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let other = Connection::open(dir.path().join(FILE_NAME)).expect("a database");
        other.execute_batch("CREATE TABLE notes (text TEXT)").expect("a table");
        drop(other);
        assert!(matches!(open(dir.path()).expect_err("not ours"), RunError::Foreign { .. }));
    }

    #[test]
    fn opening_twice_keeps_what_is_there_and_commits_are_synchronous() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(open(dir.path()).expect("a new ledger"));
        let connection = open(dir.path()).expect("the same ledger");
        assert_eq!(pragma(&connection, "synchronous").expect("a pragma"), 2, "FULL");
        let mode: String = connection
            .pragma_query_value(None, "journal_mode", |row| row.get(0))
            .expect("a pragma");
        assert_eq!(mode, "wal");
    }
}
