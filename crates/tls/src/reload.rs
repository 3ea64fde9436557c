//! Looks at the files again and again, and swaps the configurations when they have changed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use metrics::counter;
use tracing::{error, info};

use crate::{Files, Tls, load};

/// How often the files are looked at.
pub const EVERY: Duration = Duration::from_secs(10);
/// How long a certificate and a key that do not belong together may be the two halves of a change.
const HALF_CHANGED: Duration = Duration::from_secs(2);

/// What the file system says of each file. A file that was replaced has another one, also if it is
/// reached through a link that was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp(Vec<Option<(SystemTime, u64, u64)>>);

impl Stamp {
    /// Looks at the files.
    #[must_use]
    pub fn of(files: &Files) -> Self {
        let all: [&Option<PathBuf>; 5] =
            [&files.certificate, &files.key, &files.client_ca, &files.ca, &files.crl];
        Self(all.into_iter().flatten().map(|path| look(path)).collect())
    }
}

fn look(path: &Path) -> Option<(SystemTime, u64, u64)> {
    let found = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let inode = 0;
    Some((found.modified().ok()?, found.len(), inode))
}

impl Tls {
    /// Looks at the files at this interval, and takes a changed set over if it is right. A set that
    /// is not right leaves the old one in use: that is logged once and counted. Ends with the
    /// runtime, or when nobody uses the configurations any more.
    pub async fn keep_current(self, every: Duration) {
        let failures = counter!("saga_tls_reload_failures_total");
        failures.increment(0);
        let mut taken = Stamp::of(&self.files);
        loop {
            tokio::time::sleep(every).await;
            let found = Stamp::of(&self.files);
            if found == taken {
                continue;
            }
            if !load::is_a_pair(&self.files, self.choices) {
                tokio::time::sleep(HALF_CHANGED).await;
            }
            taken = Stamp::of(&self.files);
            match self.reload() {
                Ok(()) => info!("the files for TLS have changed: new connections use the new ones"),
                Err(why) => {
                    failures.increment(1);
                    error!(%why, "the new files for TLS are not right: the old ones stay in use");
                }
            }
        }
    }

    /// Reads and checks the files now, and takes them over if they are right.
    ///
    /// # Errors
    /// [`LoadError`](crate::LoadError). The old ones stay in use.
    pub fn reload(&self) -> Result<(), crate::LoadError> {
        let loaded = load::load(&self.files, self.choices)?;
        loaded.measure();
        self.now.send_replace(Arc::new(loaded));
        Ok(())
    }
}
