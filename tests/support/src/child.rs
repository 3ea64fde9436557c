//! A child process of this process. Until its end has been observed here, no other process can get
//! its process id, so a signal never reaches a wrong process.

use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::reaper::{self, LastSignal};
use crate::wait::poll;

/// Time limit for a process to disappear after SIGKILL. It takes longer only if it waits for a
/// broken disk.
const GONE_AFTER_KILL: Duration = Duration::from_secs(30);

/// A child process. Dropping this kills it; otherwise the reaper does.
#[derive(Debug)]
pub(crate) struct OwnedChild {
    child: Child,
    ended: Option<ExitStatus>,
}

impl OwnedChild {
    pub(crate) fn spawn(command: &mut Command, last: LastSignal) -> anyhow::Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let owned = Self { child, ended: None };
        reaper::watch(owned.pid(), last)?;
        Ok(owned)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the exit status, or `None` while the child runs.
    pub(crate) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
            if self.ended.is_some() {
                reaper::forget(self.pid())?;
            }
        }
        Ok(self.ended)
    }

    /// Sends a signal, or does nothing if the process has ended.
    pub(crate) fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        if self.ended()?.is_some() {
            return Ok(());
        }
        send(self.pid(), signal)
    }

    /// Ends the child with SIGKILL and waits until it is gone.
    pub(crate) fn kill9(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        match self.wait(GONE_AFTER_KILL)? {
            Some(status) => Ok(status),
            None => bail!("process {} outlives SIGKILL", self.pid()),
        }
    }

    /// Waits for the child's end. Returns `None` if it still runs after `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> anyhow::Result<Option<ExitStatus>> {
        poll(limit, || self.ended().transpose()).transpose()
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        // A failure cannot be returned from here, and the reaper tries again.
        let _ = self.kill9();
    }
}

/// Sends a signal to a process that the caller knows to be ours.
pub(crate) fn send(pid: u32, signal: Signal) -> anyhow::Result<()> {
    let known = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let known = known.with_context(|| format!("{pid} is no process number"))?;
    kill_process(known, signal).with_context(|| format!("cannot send {signal:?} to {pid}"))
}
