//! A database's tables, and the checks on a file before it is used.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

/// A database's tables, as a sequence of scripts that build on each other.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Identifies a file as ours and as belonging to one role (`PRAGMA application_id`).
    pub application_id: i32,
    /// The scripts. Script `n` migrates the database from version `n` to `n + 1`
    /// (`PRAGMA user_version`). A released script never changes.
    pub scripts: &'static [&'static str],
}

/// The reasons why a database cannot be opened. The file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be accessed.
    #[error("the database {} cannot be opened: {reason}", path.display())]
    Access {
        /// The file.
        path: PathBuf,
        /// SQLite's message.
        reason: String,
    },
    /// The file is damaged, or is not a database.
    #[error("{} is damaged, or no database: {reason}; restore it from a backup, or move it away", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// SQLite's message.
        reason: String,
    },
    /// The file belongs to another program or another role.
    #[error("{} is a database of another program, or of another role", .0.display())]
    Foreign(PathBuf),
    /// A newer binary has written the file.
    #[error("{} has schema version {found}, this binary knows up to {supported}: use a newer binary", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: i64,
        /// The newest version that this binary supports.
        supported: i64,
    },
    /// The disk is full.
    #[error("no room for the database {}: {reason}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// SQLite's message.
        reason: String,
    },
    /// Any other error of SQLite.
    #[error("the database {}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// SQLite's message.
        source: rusqlite::Error,
    },
}

impl Schema {
    /// Returns the file's version, if this schema may be applied to it. Changes nothing.
    pub(crate) fn check(&self, connection: &Connection, path: &Path) -> Result<i64, OpenError> {
        let sorted = |error| sort(path, error);
        let count = "SELECT count(*) FROM sqlite_schema";
        let tables: i64 = connection.query_row(count, [], |row| row.get(0)).map_err(sorted)?;
        let found = pragma(connection, "user_version").map_err(sorted)?;
        let owner = pragma(connection, "application_id").map_err(sorted)?;
        if tables > 0 && owner != i64::from(self.application_id) {
            return Err(OpenError::Foreign(path.to_owned()));
        }
        let supported = self.scripts.len() as i64;
        if found > supported {
            return Err(OpenError::TooNew { path: path.to_owned(), found, supported });
        }
        Ok(found)
    }

    /// Migrates the database to the newest version, in one transaction.
    pub(crate) fn migrate(
        &self,
        connection: &mut Connection,
        path: &Path,
    ) -> Result<(), OpenError> {
        let found = usize::try_from(self.check(connection, path)?).unwrap_or_default();
        if found == self.scripts.len() {
            return Ok(());
        }
        let apply = |connection: &mut Connection| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            for script in &self.scripts[found..] {
                tx.execute_batch(script)?;
            }
            tx.pragma_update(None, "application_id", self.application_id)?;
            tx.pragma_update(None, "user_version", self.scripts.len() as i64)?;
            tx.commit()
        };
        apply(connection).map_err(|error| sort(path, error))
    }
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

pub(crate) fn sort(path: &Path, error: rusqlite::Error) -> OpenError {
    let (path, reason) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::SystemIoFailure,
        ) => OpenError::Access { path, reason },
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            OpenError::Corrupt { path, reason }
        }
        Some(ErrorCode::DiskFull) => OpenError::Full { path, reason },
        _ => OpenError::Database { path, source: error },
    }
}
