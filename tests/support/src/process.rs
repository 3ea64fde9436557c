//! Our own programs as real processes, which a test can start, pause and kill.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Context;
use rustix::process::Signal;

use crate::child::OwnedChild;
use crate::reaper::LastSignal;
use crate::wait::poll;

pub use crate::ports::free_port;
pub use crate::wait::{eventually, wait_until};

/// A description of the process to start.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The name of the log file, without `.log`. Launches with the same name append to the same
    /// file.
    pub name: String,
    /// The program's path, usually `env!("CARGO_BIN_EXE_…")`.
    pub program: PathBuf,
    /// The program's arguments.
    pub args: Vec<String>,
    /// Environment variables, in addition to those of this process.
    pub env: BTreeMap<String, String>,
    /// The folder for the log file. It is created if missing.
    pub log_dir: PathBuf,
}

/// A process that was started. It is killed when this is dropped, or when our own process ends.
#[derive(Debug)]
pub struct Spawned {
    child: Mutex<OwnedChild>,
    pid: u32,
    log_file: PathBuf,
}

/// The end of a process that was sent SIGTERM.
#[derive(Clone, Copy, Debug)]
pub enum Terminated {
    /// The process ended by itself within the time limit, or had ended before.
    InTime(ExitStatus),
    /// The process did not end in time and was killed.
    Killed,
}

impl Spawned {
    /// Starts the process. Its standard output and standard error go to the log file.
    pub fn start(launch: &Launch) -> anyhow::Result<Self> {
        fs::create_dir_all(&launch.log_dir)
            .with_context(|| format!("cannot make {}", launch.log_dir.display()))?;
        let log_file = launch.log_dir.join(format!("{}.log", launch.name));
        let log = append_to(&log_file)?;
        let mut command = Command::new(&launch.program);
        command
            .args(&launch.args)
            .envs(&launch.env)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = OwnedChild::spawn(&mut command, LastSignal::Kill)?;
        let pid = child.pid();
        Ok(Self { child: Mutex::new(child), pid, log_file })
    }

    /// Returns the process's id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns true if the process exists. It may be paused.
    pub fn is_running(&self) -> anyhow::Result<bool> {
        Ok(self.child().ended()?.is_none())
    }

    /// Kills the process with SIGKILL and waits until it is gone. It may have ended already.
    pub fn kill9(&self) -> anyhow::Result<ExitStatus> {
        self.child().kill9()
    }

    /// Sends SIGTERM and waits for the process's end. After `limit` the process is killed.
    pub fn terminate(&self, limit: Duration) -> anyhow::Result<Terminated> {
        self.child().signal(Signal::TERM)?;
        // A paused process reacts to SIGTERM only after it is resumed.
        self.child().signal(Signal::CONT)?;
        match self.wait(limit)? {
            Some(status) => Ok(Terminated::InTime(status)),
            None => {
                self.kill9()?;
                Ok(Terminated::Killed)
            }
        }
    }

    /// Waits until the process ends by itself. Returns `None` if it still runs after `limit`.
    pub fn wait(&self, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
        // The lock is taken only for each check, so that another thread can kill the process
        // meanwhile.
        poll(limit, || self.child().ended().transpose()).transpose()
    }

    /// Pauses the process (SIGSTOP).
    pub fn sigstop(&self) -> anyhow::Result<()> {
        self.child().signal(Signal::STOP)
    }

    /// Resumes the process (SIGCONT).
    pub fn sigcont(&self) -> anyhow::Result<()> {
        self.child().signal(Signal::CONT)
    }

    /// Returns the file with the process's standard output and standard error.
    pub fn log_file(&self) -> &Path {
        &self.log_file
    }

    /// Returns the output so far, including that of earlier launches with the same name.
    pub fn log(&self) -> anyhow::Result<String> {
        let bytes = fs::read(&self.log_file)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn child(&self) -> MutexGuard<'_, OwnedChild> {
        self.child.lock().expect("nobody panics while holding it")
    }
}

impl Terminated {
    /// Returns true if the process ended in time, with exit code 0.
    pub fn was_clean(&self) -> bool {
        match self {
            Self::InTime(status) => status.success(),
            Self::Killed => false,
        }
    }
}

/// Opens a log file for appending.
pub(crate) fn append_to(file: &Path) -> anyhow::Result<File> {
    let mut options = File::options();
    options.create(true).append(true);
    options.open(file).with_context(|| format!("cannot write to {}", file.display()))
}

/// Returns the last `count` lines of a log file, for an error message.
pub(crate) fn end_of(file: &Path, count: usize) -> String {
    let text = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
