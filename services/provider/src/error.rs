use std::path::PathBuf;

/// Why the provider could not start, or had to stop. None of these is worth retrying without a change by a person.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The directory cannot be made, or no file can be written in it.
    #[error(
        "cannot write in the data directory {path}: choose another one or change its permissions ({reason})"
    )]
    DataDirectory {
        /// The directory that was asked for.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The file is not a healthy SQLite database.
    #[error(
        "the ledger {path} is corrupt or no SQLite database: restore it or move it away ({reason})"
    )]
    Corrupt {
        /// The ledger's file.
        path: PathBuf,
        /// What SQLite said.
        reason: String,
    },
    /// The file is a database of something else.
    #[error("{path} is a database, but not a provider's ledger: choose another data directory")]
    Foreign {
        /// The ledger's file.
        path: PathBuf,
    },
    /// A newer binary has written the file.
    #[error(
        "the ledger {path} has schema {found}, this binary knows up to {supported}: start a newer binary"
    )]
    SchemaTooNew {
        /// The ledger's file.
        path: PathBuf,
        /// The file's schema version.
        found: i64,
        /// The newest version that this binary knows.
        supported: i64,
    },
    /// SQLite failed in another way.
    #[error("the ledger {path} cannot be opened")]
    Database {
        /// The ledger's file.
        path: PathBuf,
        /// What SQLite said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The listening socket failed.
    #[error("the provider's socket failed")]
    Listener(#[source] std::io::Error),
    /// The thread that writes the ledger could not start, died, or did not end in time.
    #[error("the thread that writes the ledger {0}")]
    Writer(&'static str),
}
