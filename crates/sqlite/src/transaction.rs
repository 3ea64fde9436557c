//! A transaction that owns its connection until it ends.

use std::ops::Deref;

use rusqlite::{CachedStatement, Connection};
use saga_core::{Failure, Timestamp};
use tokio::sync::OwnedMutexGuard;

use crate::{Clock, database::blocking, failure};

/// An open transaction, which is alone on its database. Dropping it rolls it back.
///
/// A service's tables implement their port for this type, so that their writes and the inbox's are
/// in one transaction.
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
        // IMMEDIATE, because a transaction that reads first and writes later would otherwise fail
        // if another one has written in between.
        blocking(|| connection.execute_batch("BEGIN IMMEDIATE")).map_err(failure)?;
        Ok(Self { now: clock.now(), connection })
    }

    /// Returns the database's time when the transaction began.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Prepares a statement, or takes it from the connection's cache.
    ///
    /// # Errors
    /// If the SQL is wrong, or a table is missing.
    pub fn statement(&self, sql: &str) -> Result<CachedStatement<'_>, Failure> {
        self.connection.prepare_cached(sql).map_err(failure)
    }

    /// Commits the transaction.
    ///
    /// # Errors
    /// [`Failure::UnknownCommit`] if the disk failed during the commit: after a crash the
    /// transaction may turn out to be committed.
    pub fn commit(self) -> Result<(), Failure> {
        match blocking(|| self.connection.execute_batch("COMMIT")) {
            Ok(()) => Ok(()),
            // Dropping the transaction rolls it back, as long as this process lives.
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
            // If the rollback fails, the connection's next BEGIN will fail too.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}
