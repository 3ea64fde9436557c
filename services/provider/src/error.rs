use std::path::PathBuf;

use saga_sqlite::OpenError;

/// Why the provider could not start, or had to stop. None of these is worth retrying before a
/// person has changed something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The directory cannot be made.
    #[error(
        "cannot make the data directory {path}: choose another one or change its permissions ({reason})"
    )]
    DataDirectory {
        /// The directory that was asked for.
        path: PathBuf,
        /// The operating system's message.
        reason: std::io::Error,
    },
    /// The ledger's file cannot be used.
    #[error("the ledger cannot be opened: {0}")]
    Ledger(#[from] OpenError),
    /// The listening socket failed.
    #[error("the provider's socket failed")]
    Listener(#[source] std::io::Error),
    /// The task that writes the ledger died, or did not end in time.
    #[error("the task that writes the ledger {0}")]
    Writer(&'static str),
}
