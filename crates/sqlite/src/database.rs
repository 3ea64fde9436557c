//! An SQLite database, with one connection for writing and one for reading.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};
use saga_core::Failure;
use tokio::{runtime::RuntimeFlavor, sync::Mutex};

use crate::{Clock, OpenError, Schema, Transaction, failure, schema::sort};

/// Longest wait for a lock of another process, such as an auditor or an operator's shell.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Size of the cache of prepared statements. It is large enough for all statements of a service.
const PREPARED_STATEMENTS: usize = 64;
/// Number of pages (16 MiB) after which the write-ahead log is copied back into the file. That is
/// rare enough not to slow down batches.
const CHECKPOINT_PAGES: i64 = 4_096;

/// A role's database. Clones share it.
#[derive(Clone, Debug)]
pub struct Database {
    /// The connection for reading. In a file, it sees what is committed and never waits for a
    /// writer. A database in memory has only one connection, so readers and writers take turns.
    ///
    /// This field comes before `writer` so that it is dropped first. The writing connection is then
    /// closed last and copies the log back, so that a closed file is complete without its log.
    reader: Arc<Mutex<Connection>>,
    pub(crate) writer: Arc<Mutex<Connection>>,
    clock: Clock,
}

impl Database {
    /// Opens a file. Creates it if it is missing, and migrates it if its schema is older. Commits
    /// are synchronous: a committed transaction survives a power cut.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, schema: &Schema, clock: Clock) -> Result<Self, OpenError> {
        let sorted = |error| sort(path, error);
        let mut writer = Connection::open(path).map_err(sorted)?;
        prepare(&writer).map_err(sorted)?;
        // Closing a file normally copies its log back. This is switched off until the checks have
        // passed, so that a file that is foreign or damaged stays unchanged.
        leave_the_log_alone(&writer, true).map_err(sorted)?;
        schema.check(&writer, path)?;
        let quick: String =
            writer.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(sorted)?;
        if quick != "ok" {
            return Err(OpenError::Corrupt { path: path.to_owned(), reason: quick });
        }
        leave_the_log_alone(&writer, false).map_err(sorted)?;
        let settle = |writer: &Connection| {
            writer.pragma_update(None, "journal_mode", "WAL")?;
            writer.pragma_update(None, "synchronous", "FULL")?;
            writer.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
        };
        settle(&writer).map_err(sorted)?;
        schema.migrate(&mut writer, path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(path, flags).map_err(sorted)?;
        prepare(&reader).map_err(sorted)?;
        Ok(Self {
            writer: Arc::new(Mutex::new(writer)),
            reader: Arc::new(Mutex::new(reader)),
            clock,
        })
    }

    /// Creates a database in memory. It is gone when its last clone is dropped.
    ///
    /// # Errors
    /// [`OpenError`], if the schema is wrong.
    pub fn in_memory(schema: &Schema, clock: Clock) -> Result<Self, OpenError> {
        let path = PathBuf::from(":memory:");
        let mut connection = Connection::open_in_memory().map_err(|error| sort(&path, error))?;
        prepare(&connection).map_err(|error| sort(&path, error))?;
        schema.migrate(&mut connection, &path)?;
        let connection = Arc::new(Mutex::new(connection));
        Ok(Self { reader: Arc::clone(&connection), writer: connection, clock })
    }

    /// Waits until all earlier transactions have ended, then begins one.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] or, if another process writes, [`Failure::Conflict`].
    pub async fn begin(&self) -> Result<Transaction, Failure> {
        let connection = Arc::clone(&self.writer).lock_owned().await;
        Transaction::begin(connection, &self.clock)
    }

    /// Runs `write` in its own transaction, and commits it if `write` succeeds.
    ///
    /// # Errors
    /// As [`Database::begin`] and [`Transaction::commit`], or the closure's error, converted by
    /// [`failure`]. After an error nothing is written, unless it is [`Failure::UnknownCommit`].
    pub async fn write<R>(
        &self,
        write: impl FnOnce(&Transaction) -> rusqlite::Result<R> + Send,
    ) -> Result<R, Failure> {
        let connection = Arc::clone(&self.writer).lock_owned().await;
        blocking(|| {
            let tx = Transaction::begin(connection, &self.clock)?;
            let result = write(&tx).map_err(failure)?;
            tx.commit()?;
            Ok(result)
        })
    }

    /// Reads committed state, all of it as of one instant.
    ///
    /// # Errors
    /// The closure's error, converted by [`failure`].
    pub async fn read<R>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<R> + Send,
    ) -> Result<R, Failure> {
        let connection = self.reader.lock().await;
        blocking(|| {
            let snapshot = connection.unchecked_transaction()?;
            let result = read(&snapshot)?;
            snapshot.finish()?;
            Ok(result)
        })
        .map_err(failure)
    }

    /// Returns the database's clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    Ok(())
}

fn leave_the_log_alone(connection: &Connection, yes: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, yes).map(drop)
}

/// Runs a function that waits for the disk. If the runtime has several threads, the other tasks of
/// this thread can run on them meanwhile.
pub(crate) fn blocking<R>(wait: impl FnOnce() -> R) -> R {
    match tokio::runtime::Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        Ok(_) | Err(_) => wait(),
    }
}
