//! A transaction that owns its connection until it ends.

use std::ops::Deref;

use rusqlite::{CachedStatement, Connection};
use saga_core::{Failure, Timestamp};
use tokio::sync::OwnedMutexGuard;

use crate::{Clock, database::blocking, failure};

/// An open transaction, alone on its database. If it is dropped, it is undone.
///
/// A service's tables implement their port on it, so that their writes and the
/// inbox's are one.
#[derive(Debug)]
pub struct Transaction {
    connection: OwnedMutexGuard<Connection>,
    now: Timestamp,
}

impl Transaction {
    pub(crate) fn begin(
        connection: OwnedMutexGuard<Connection>,
        clock: &Clock,
    ) -> Result<Self, Failure> {
        // Immediate: otherwise a transaction that reads first and writes later would fail if
        // another one has written in between.
        blocking(|| connection.execute_batch("BEGIN IMMEDIATE")).map_err(failure)?;
        Ok(Self { now: clock.now(), connection })
    }

    /// The database's clock when the transaction began.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// A statement, prepared once for each connection.
    ///
    /// # Errors
    /// If the SQL is wrong, or a table is missing.
    pub fn statement(&self, sql: &str) -> Result<CachedStatement<'_>, Failure> {
        self.connection.prepare_cached(sql).map_err(failure)
    }

    /// Commits.
    ///
    /// # Errors
    /// [`Failure::UnknownCommit`] if the disk failed during it: after a crash the
    /// transaction may turn out to be committed.
    pub fn commit(self) -> Result<(), Failure> {
        match blocking(|| self.connection.execute_batch("COMMIT")) {
            Ok(()) => Ok(()),
            // Dropping undoes it, as long as this process lives.
            Err(error) => Err(match failure(error) {
                Failure::Unavailable(text) => Failure::UnknownCommit(text),
                known @ (Failure::Conflict(_)
                | Failure::UnknownCommit(_)
                | Failure::Permanent(_)) => known,
            }),
        }
    }
}

impl Deref for Transaction {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.connection.is_autocommit() {
            // If even this fails, the connection's next BEGIN fails.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}
