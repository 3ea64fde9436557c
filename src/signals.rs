//! The signals with which a person or a supervisor stops this process.

use std::io;

use system::{Interrupt, Terminate, interrupt, terminate};

#[cfg(unix)]
mod system {
    use std::io;

    pub(super) use tokio::signal::unix::{Signal as Interrupt, Signal as Terminate};
    use tokio::signal::unix::{SignalKind, signal};

    pub(super) fn interrupt() -> io::Result<Interrupt> {
        signal(SignalKind::interrupt())
    }

    pub(super) fn terminate() -> io::Result<Terminate> {
        signal(SignalKind::terminate())
    }
}

#[cfg(windows)]
mod system {
    pub(super) use tokio::signal::windows::{
        CtrlBreak as Terminate, CtrlC as Interrupt, ctrl_break as terminate, ctrl_c as interrupt,
    };
}

/// Receives SIGINT and SIGTERM; on Windows Ctrl-C and Ctrl-Break. Once this value exists, these
/// signals no longer end the process by themselves.
pub(crate) struct StopSignals {
    interrupt: Interrupt,
    terminate: Terminate,
}

impl StopSignals {
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: interrupt()?, terminate: terminate()? })
    }

    /// Waits for the next signal. If the wait is cancelled, no signal is lost.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
