//! The directory that holds an embedded system's databases.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

/// The lock file. A process that uses the directory locks this file, and the operating system
/// unlocks it when the process ends for any reason.
const LOCK_FILE: &str = "lock";

/// A data directory that this process has locked. Dropping the value unlocks it.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// The reason why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process uses the directory.
    #[error("{} is in use by another saga process: stop that one first, or choose another --data-dir", .0.display())]
    InUse(PathBuf),
    /// The directory cannot be created or written.
    #[error("the data directory {} cannot be used: {reason}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// The operating system's message.
        reason: std::io::Error,
    },
}

impl DataDir {
    /// Creates the directory if it is missing, and locks it for this process.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub fn take(path: &Path) -> Result<Self, DataDirError> {
        let unusable = |reason| DataDirError::Unusable { path: path.to_owned(), reason };
        fs::create_dir_all(path).map_err(unusable)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_FILE))
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(reason)) => Err(unusable(reason)),
        }
    }

    /// Returns the path of a role's database.
    #[must_use]
    pub fn database(&self, role: &str) -> PathBuf {
        self.path.join(format!("{role}.sqlite"))
    }

    /// Returns the path of the directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("not/there/yet");
        let first = DataDir::take(&path).expect("it is free");
        let refused = DataDir::take(&path).expect_err("it is taken");
        assert!(matches!(refused, DataDirError::InUse(_)), "{refused}");
        assert!(refused.to_string().contains("in use by another saga process"), "{refused}");
        drop(first);
        DataDir::take(&path).expect("it is free again");
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        fs::write(&file, "in the way").expect("a file");
        let refused = DataDir::take(&file.join("data")).expect_err("a file is in the way");
        assert!(refused.to_string().contains("file/data"), "{refused}");
    }
}
