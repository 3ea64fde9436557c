use std::path::PathBuf;

use saga_sqlite::OpenError;

/// The reasons why the provider cannot start, or has to stop. A person has to change something
/// before the provider is started again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The data directory cannot be created.
    #[error(
        "cannot make the data directory {path}: choose another one or change its permissions ({reason})"
    )]
    DataDirectory {
        /// The directory in the settings.
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
    /// The task that writes to the ledger panicked, or did not end in time.
    #[error("the task that writes the ledger {0}")]
    Writer(&'static str),
}
