//! Ends what a test process leaves behind.
//!
//! `Drop` is not enough: values in a `static` are never dropped, and a process that is killed drops
//! nothing. So the first child that we start brings a small shell script with it, which reads from
//! a pipe that only this process can write to. When this process ends, in whatever way, the pipe
//! ends too, and the script kills the children that are left and removes their folders.
//!
//! (`PR_SET_PDEATHSIG` would be the obvious way. It needs unsafe code, and it fires when the
//! *thread* that started the child ends, which for a test is long before the end.)

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock};

use anyhow::Context;

const SCRIPT: &str = include_str!("reaper.sh");

static PIPE: OnceLock<Mutex<ChildStdin>> = OnceLock::new();

/// How a child that was left behind is ended, before SIGKILL after a few seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LastSignal {
    /// At once, for a process that has no children of its own to end.
    Kill,
    /// SIGQUIT: PostgreSQL then ends its backends and itself without a checkpoint.
    Quit,
}

/// Ends the process `pid`, a child of ours, when this process ends.
pub(crate) fn watch(pid: u32, last: LastSignal) -> anyhow::Result<()> {
    let signal = match last {
        LastSignal::Kill => "KILL",
        LastSignal::Quit => "QUIT",
    };
    tell(&format!("watch {signal} {pid}"))
}

/// The process `pid` has ended and its number may soon belong to somebody else.
pub(crate) fn forget(pid: u32) -> anyhow::Result<()> {
    tell(&format!("forget {pid}"))
}

/// Removes a folder when this process ends, if it is still there.
pub(crate) fn remove(folder: &Path) -> anyhow::Result<()> {
    tell(&format!("remove {}", folder.display()))
}

fn tell(line: &str) -> anyhow::Result<()> {
    let pipe = match PIPE.get() {
        Some(pipe) => pipe,
        None => {
            // Two threads may both start one; the loser's reads the end of its pipe and leaves.
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
        // A group of its own: a signal for the group of this process must not end the reaper.
        .process_group(0)
        .spawn()
        .context("cannot start /bin/sh")?;
    child.stdin.take().context("the reaper has no standard input")
}
