//! Faults of the machine: clocks that jump, and disks that are full.
//!
//! The clocks are simulated by libfaketime, which reads an offset from one file for each process.
//! The disks are small file systems in memory, in a mount namespace that ends with this program.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write as _,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicI64, Ordering},
};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use crate::schedule::Disk;

/// Variable that is set once this program runs in its own mount namespace.
const INSIDE: &str = "SAGA_CHAOS_INSIDE";
/// Name of the database's file in the folder `clocks`.
const DATABASE: &str = "database";
/// Size of each disk, enough for the longest run.
const SIZES: [(Disk, &str); 2] = [(Disk::Provider, "256m"), (Disk::Database, "2g")];
const SHARED_MEMORY: &str = "/dev/shm";
const BALLAST: &str = "ballast";

/// The simulated clocks and disks of one run.
pub(crate) struct Machine {
    root: TempDir,
    library: PathBuf,
    /// Hours by which the database's clock is ahead.
    database_ahead: AtomicI64,
}

/// Runs this program again in a new mount namespace, unless it already runs in one.
pub(crate) fn enter() -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return Ok(());
    }
    let failed = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "yes")
        .exec();
    Err(failed).context("unshare (util-linux), for disks that can be full")
}

impl Machine {
    /// Creates the disks, and a folder for the clocks.
    pub(crate) fn new() -> anyhow::Result<Self> {
        let library = library()?;
        let root = tempfile::Builder::new().prefix("saga-chaos-machine-").tempdir()?;
        // The database server runs as another user, who must be able to read this folder.
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))?;
        let machine = Self { root, library, database_ahead: AtomicI64::new(0) };
        fs::create_dir(machine.root.path().join("clocks"))?;
        for (disk, size) in SIZES {
            fs::create_dir(machine.disk(disk))?;
            mount(&machine.disk(disk), &format!("size={size},mode=0755"))?;
        }
        // libfaketime leaves a file in this folder for every process that is killed.
        mount(Path::new(SHARED_MEMORY), "size=64m,mode=1777")?;
        Ok(machine)
    }

    /// Returns the folder of a disk.
    pub(crate) fn disk(&self, disk: Disk) -> PathBuf {
        self.root.path().join(match disk {
            Disk::Provider => "provider",
            Disk::Database => "postgres",
        })
    }

    /// Fills a disk to its last byte.
    pub(crate) fn fill(&self, disk: Disk) -> anyhow::Result<()> {
        let mut ballast = fs::File::create(self.disk(disk).join(BALLAST))?;
        // Writes ever smaller pieces, until not even one byte fits.
        let mut piece = vec![0; 1 << 20];
        while !piece.is_empty() {
            match ballast.write_all(&piece) {
                Ok(()) => {}
                Err(full) if full.kind() == io::ErrorKind::StorageFull => {
                    piece.truncate(piece.len() / 2);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Removes the file that fills a disk.
    pub(crate) fn free(&self, disk: Disk) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.disk(disk).join(BALLAST))?)
    }

    /// Returns the environment variables with which a process uses our clock.
    pub(crate) fn clock(&self, name: &str) -> anyhow::Result<BTreeMap<String, String>> {
        self.set_clock(name, 0)?;
        let told = [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.clock_file(name).display().to_string()),
            ("FAKETIME_CACHE_DURATION", "1".to_owned()),
            // The monotonic clock, which measures durations, never jumps on a real machine.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        Ok(told.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// Returns the same variables for the database server.
    pub(crate) fn database_clock(&self) -> anyhow::Result<BTreeMap<String, String>> {
        self.clock(DATABASE)
    }

    /// Sets a process's clock this many hours ahead (or back). The process uses the new time within
    /// a second.
    pub(crate) fn set_clock(&self, name: &str, hours: i64) -> anyhow::Result<()> {
        let (file, new) = (self.clock_file(name), self.clock_file(&format!("{name}.new")));
        fs::write(&new, format!("{:+}\n", hours * 3_600))?;
        // Renaming is atomic, so a process never reads half of the file.
        Ok(fs::rename(new, file)?)
    }

    /// Sets the database's clock one more hour ahead, and returns the hours by which it is now
    /// ahead.
    pub(crate) fn advance_database(&self) -> anyhow::Result<i64> {
        let hours = self.database_ahead.fetch_add(1, Ordering::SeqCst) + 1;
        self.set_clock(DATABASE, hours)?;
        Ok(hours)
    }

    fn clock_file(&self, name: &str) -> PathBuf {
        self.root.path().join("clocks").join(name)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for (disk, _) in SIZES {
            // A process that still uses the disk keeps it until the namespace ends.
            let _ = Command::new("umount").arg("--lazy").arg(self.disk(disk)).status();
        }
    }
}

/// Mounts a new file system in memory, in this namespace.
fn mount(place: &Path, options: &str) -> anyhow::Result<()> {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", options, "saga-chaos"]).arg(place);
    let done = command.output().context("mount")?;
    let error = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "a disk that can be full needs root: {}", error.trim());
    Ok(())
}

/// Returns the path of the variant of libfaketime for programs with several threads.
fn library() -> anyhow::Result<PathBuf> {
    let places =
        ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let found = places.iter().map(|place| Path::new(place).join("faketime/libfaketimeMT.so.1"));
    found.into_iter().find(|file| file.exists()).context(
        "libfaketime is missing, for clocks that jump: scripts/install-test-needs, or apt-get install faketime",
    )
}
