use std::path::PathBuf;
use std::time::Duration;

/// What a provider needs to know before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The directory of the ledger (`provider.sqlite`); made if it is missing.
    pub data_dir: PathBuf,
    /// How late the answer to a `tok_slow` is. Its authorisation is committed at once.
    pub slow_after: Duration,
    /// How long a `tok_very_slow` waits *before* it commits: longer than any client waits.
    pub very_slow_after: Duration,
    /// How many attempts under one key a `tok_down` answers with 503 before it approves.
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
