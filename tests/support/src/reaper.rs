//! Ends the processes that a test process leaves behind.
//!
//! `Drop` is not enough: values in a `static` are never dropped, and a killed process drops none.
//! So together with its first child, this process starts a small shell script, which reads from a
//! pipe. Only this process can write to the pipe, so the pipe closes however this process ends. The
//! script then kills the remaining children and removes their folders.
//!
//! (`PR_SET_PDEATHSIG` would be the obvious way. But it needs unsafe code, and it fires when the
//! *thread* that started the child ends, which in a test is long before the process ends.)

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use anyhow::Context;

const SCRIPT: &str = include_str!("reaper.sh");

static PIPE: OnceLock<Mutex<ChildStdin>> = OnceLock::new();

/// The first signal for a child that was left behind. SIGKILL follows after a few seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LastSignal {
    /// SIGKILL at once, for a process without children of its own.
    Kill,
    /// SIGQUIT, with which PostgreSQL ends its backends and itself without a checkpoint.
    Quit,
}

/// Tells the reaper to end the child `pid` when this process ends.
pub(crate) fn watch(pid: u32, last: LastSignal) -> anyhow::Result<()> {
    let signal = match last {
        LastSignal::Kill => "KILL",
        LastSignal::Quit => "QUIT",
    };
    tell(&format!("watch {signal} {pid}"))
}

/// Tells the reaper to stop watching `pid`: the child has ended, and another process may get its
/// id.
pub(crate) fn forget(pid: u32) -> anyhow::Result<()> {
    tell(&format!("forget {pid}"))
}

/// Tells the reaper to remove a folder when this process ends, if the folder still exists.
pub(crate) fn remove(folder: &Path) -> anyhow::Result<()> {
    tell(&format!("remove {}", folder.display()))
}

fn tell(line: &str) -> anyhow::Result<()> {
    let pipe = match PIPE.get() {
        Some(pipe) => pipe,
        None => {
            // Two threads may both start a script. The pipe of the second one closes here, so that
            // script ends.
            let started = start()?;
            PIPE.get_or_init(|| Mutex::new(started))
        }
    };
    let mut pipe = pipe.lock().expect("nobody panics while holding it");
    writeln!(pipe, "{line}").context("the reaper of this test process has ended")
}

fn start() -> anyhow::Result<ChildStdin> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", SCRIPT])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // The reaper gets its own process group: a signal to this process's group must not end it.
        .process_group(0)
        .spawn()
        .context("cannot start /bin/sh")?;
    child.stdin.take().context("the reaper has no standard input")
}
