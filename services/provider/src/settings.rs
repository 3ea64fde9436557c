use std::path::PathBuf;
use std::time::Duration;

/// A provider's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The directory of the ledger (`provider.sqlite`). It is created if it is missing.
    pub data_dir: PathBuf,
    /// How long the answer to a `tok_slow` is delayed. Its authorisation is committed at once.
    pub slow_after: Duration,
    /// How long a `tok_very_slow` waits *before* it commits: longer than any client waits.
    pub very_slow_after: Duration,
    /// How many attempts with a `tok_down` under one key get a 503 before it is approved.
    pub down_attempts: u32,
}

impl Settings {
    /// The default settings, with the ledger in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            slow_after: Duration::from_millis(1_500),
            very_slow_after: Duration::from_secs(20),
            down_attempts: 3,
        }
    }
}
