use std::path::PathBuf;
use std::time::Duration;

/// A provider's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The directory of the ledger (`provider.sqlite`); made if it is missing.
    pub data_dir: PathBuf,
    /// The delay of the answer to a `tok_slow`. Its authorisation is committed at once.
    pub slow_after: Duration,
    /// The delay of a `tok_very_slow` *before* it commits: longer than any client waits.
    pub very_slow_after: Duration,
    /// The attempts under one key that a `tok_down` answers with 503 before it approves.
    pub down_attempts: u32,
}

impl Settings {
    /// The usual settings, with the ledger in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            slow_after: Duration::from_millis(1_500),
            very_slow_after: Duration::from_secs(20),
            down_attempts: 3,
        }
    }
}
