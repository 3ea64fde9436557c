//! The operators' command line, for orchestrators of any sagas. Also provides what other gRPC
//! command lines need: connection, output, failures and exit codes.
//!
//! It uses only the published contract (`saga.operations.v1`): no database, no broker, and no type
//! of any role. It keeps no state between two calls, and never repeats a write by itself.
//!
//! Read first: [`Command`], [`run`], and [`Console`], through which all output goes.

mod clean;
mod connection;
mod console;
mod failure;
mod health;
mod operate;
mod quarantine;
mod sagas;
mod times;

use std::{io, process::ExitCode};

pub use clean::clean;
pub use connection::{Connection, Page, server};
pub use console::{Console, table};
pub use failure::{Failure, Verdict, may_retry, name as code_name, retry_delay, told_apart};
pub use sagas::describe as describe_saga;
pub use times::{show as show_time, since as show_since};

/// The exit code for a command line that cannot be parsed (`EX_USAGE`).
pub const USAGE: u8 = 64;

/// An operator's request to a running system.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List sagas, newest first
    Sagas(sagas::Sagas),
    /// Show one saga: its steps and its history
    Saga(sagas::Saga),
    /// Ask now for what a saga waits for, or sagas; takes it out of stuck
    Retry(operate::Retry),
    /// Count the step that a saga is stuck at as done, or undone
    Skip(operate::Skip),
    /// State what became of a saga's open command
    Resolve(operate::Resolve),
    /// Undo a saga, or sagas, before the pivot
    Compensate(operate::Compensate),
    /// Hold a saga
    Pause(operate::Pause),
    /// Let a paused saga go on
    Resume(operate::Resume),
    /// List what could not be handled, look inside, re-drive or discard it
    Quarantine(quarantine::Quarantine),
    /// Ask a role whether it serves
    Health(health::Health),
}

impl Command {
    /// Returns true if the output is for programs.
    #[must_use]
    pub fn json(&self) -> bool {
        match self {
            Self::Sagas(c) => c.connection.json,
            Self::Saga(c) => c.connection.json,
            Self::Retry(c) => c.why.connection.json,
            Self::Skip(c) => c.why.connection.json,
            Self::Resolve(c) => c.why.connection.json,
            Self::Compensate(c) => c.why.connection.json,
            Self::Pause(c) => c.why.connection.json,
            Self::Resume(c) => c.why.connection.json,
            Self::Quarantine(c) => c.json(),
            Self::Health(c) => c.json,
        }
    }

    /// Sends the request and prints the answer.
    ///
    /// # Errors
    /// [`Failure`], if there is no answer.
    pub async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        match self {
            Self::Sagas(c) => c.ask(console).await,
            Self::Saga(c) => c.ask(console).await,
            Self::Retry(c) => c.ask(console).await,
            Self::Skip(c) => c.ask(console).await,
            Self::Resolve(c) => c.ask(console).await,
            Self::Compensate(c) => c.ask(console).await,
            Self::Pause(c) => c.ask(console).await,
            Self::Resume(c) => c.ask(console).await,
            Self::Quarantine(c) => c.ask(console).await,
            Self::Health(c) => c.ask(console).await,
        }
    }
}

/// Runs a command on the process's own output and returns its exit code: 0 if it did what was
/// asked, 1 if it was refused or failed, 2 if the system cannot be reached or is too busy (calling
/// again may help), 64 for wrong usage.
pub async fn run(
    json: bool,
    ask: impl AsyncFnOnce(&mut Console<'_>) -> Result<Verdict, Failure>,
) -> ExitCode {
    ExitCode::from(run_on(json, ask, &mut io::stdout(), &mut io::stderr()).await)
}

/// Runs a command as [`run`] does, but on any output.
pub async fn run_on(
    json: bool,
    ask: impl AsyncFnOnce(&mut Console<'_>) -> Result<Verdict, Failure>,
    out: &mut dyn io::Write,
    err: &mut dyn io::Write,
) -> u8 {
    let mut console = Console::new(json, out, err);
    match Box::pin(ask(&mut console)).await {
        Ok(Verdict::Done) => 0,
        Ok(Verdict::Refused) => 1,
        Err(failure) => {
            // If the failure cannot be printed either, nobody can be informed.
            let _ = console.failure(&failure);
            failure.exit_code()
        }
    }
}
