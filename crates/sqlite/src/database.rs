//! A database: one connection that writes, one that reads.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};
use saga_core::Failure;
use tokio::{runtime::RuntimeFlavor, sync::Mutex};

use crate::{Clock, OpenError, Schema, Transaction, failure, schema::sort};

/// Longest wait for another process (an auditor, an operator's shell).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Enough that each of our statements stays prepared.
const PREPARED_STATEMENTS: usize = 64;
/// The write-ahead log is folded back after this many pages (16 MiB): so rarely that batches are
/// not slowed down.
const CHECKPOINT_PAGES: i64 = 4_096;

/// A role's database. Clones share it.
#[derive(Clone, Debug)]
pub struct Database {
    /// A file's readers see what is committed and wait for no writer. In memory
    /// there is one connection, and a reader takes its turn with the writers.
    ///
    /// The field comes before `writer`, so that it is dropped first. The connection that may write
    /// is then closed last and folds the log back, so a closed file is whole without its log.
    reader: Arc<Mutex<Connection>>,
    pub(crate) writer: Arc<Mutex<Connection>>,
    clock: Clock,
}

impl Database {
    /// Opens a file. It is made if it is missing, and brought up to date.
    /// Commits are synchronous: a committed transaction survives a power cut.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path, schema: &Schema, clock: Clock) -> Result<Self, OpenError> {
        let sorted = |error| sort(path, error);
        let mut writer = Connection::open(path).map_err(sorted)?;
        prepare(&writer).map_err(sorted)?;
        // Even closing a file folds its log back. A file that is not ours, or is
        // damaged, is left byte for byte.
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

    /// A database that lives as long as its last clone.
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

    /// Begins a transaction once every one before it has ended.
    ///
    /// # Errors
    /// [`Failure::Unavailable`] or, if another process writes, [`Failure::Conflict`].
    pub async fn begin(&self) -> Result<Transaction, Failure> {
        let connection = Arc::clone(&self.writer).lock_owned().await;
        Transaction::begin(connection, &self.clock)
    }

    /// Runs `write` in a transaction of its own, and commits it if `write` succeeds.
    ///
    /// # Errors
    /// As [`Database::begin`] and [`Transaction::commit`], and the closure's error, sorted by
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
    /// The closure's error, sorted by [`failure`].
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

    /// The database's clock.
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

/// Waits for the disk without holding up the other tasks of this thread, where
/// the runtime has other threads to run them on.
pub(crate) fn blocking<R>(wait: impl FnOnce() -> R) -> R {
    match tokio::runtime::Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        Ok(_) | Err(_) => wait(),
    }
}
