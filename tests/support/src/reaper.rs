//! Ends the processes that a test process leaves behind.
//!
//! `Drop` is not enough: values in a `static` are never dropped, and a killed process drops none.
//! So with our first child we also start a small shell script, which reads from a pipe that only
//! this process can write to. However this process ends, the pipe ends too, and the script kills
//! the remaining children and removes their folders.
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

/// The signal that first ends a child that was left behind; SIGKILL follows after a few seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LastSignal {
    /// SIGKILL at once, for a process that has no children to end.
    Kill,
    /// SIGQUIT: PostgreSQL then ends its backends and itself without a checkpoint.
    Quit,
}

/// Makes the reaper end the child `pid` when this process ends.
pub(crate) fn watch(pid: u32, last: LastSignal) -> anyhow::Result<()> {
    let signal = match last {
        LastSignal::Kill => "KILL",
        LastSignal::Quit => "QUIT",
    };
    tell(&format!("watch {signal} {pid}"))
}

/// Stops watching `pid`: the process has ended, and another process may soon get its id.
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
            // Two threads may both start a script. The second script's pipe closes, so it ends.
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
        // Its own process group: a signal to this process's group must not end the reaper.
        .process_group(0)
        .spawn()
        .context("cannot start /bin/sh")?;
    child.stdin.take().context("the reaper has no standard input")
}
