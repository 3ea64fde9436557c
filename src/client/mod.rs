//! The commands of clients and operators: a shell, a script or a person uses them to call a running
//! system.
//!
//! They use only the published gRPC contract (`proto/saga/shop` and `proto/saga/operations`): no
//! database, no broker, no type of any role. They keep nothing between two calls. They never repeat
//! a write by themselves, but print the key under which it can be repeated.
//!
//! Read first: [`Command`], [`run`], and `console::Console`, through which all output goes.

pub mod again;
mod catalogue;
mod clean;
mod connection;
mod console;
mod failure;
pub mod goods;
mod health;
mod items;
mod load;
mod money;
mod operate;
mod orders;
mod place;
mod quarantine;
mod returns;
mod sagas;
#[cfg(test)]
mod tests;
mod times;
mod watch;

use std::{io, process::ExitCode};

pub use connection::{Connection, server};
pub use console::{Console, table};
pub use failure::name as code_name;
pub use failure::{Failure, Verdict};
pub use orders::status_name as order_status_name;
pub(crate) use sagas::describe as describe_saga;

/// The exit code of a command line that cannot be understood (`EX_USAGE`).
pub const USAGE: u8 = 64;

/// What a client or an operator can ask of a running system.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Place an order, and wait until it has ended
    Place(place::Place),
    /// List orders, newest first
    Orders(orders::Orders),
    /// Show one order; without its ID, run the order service
    Order(orders::Order),
    /// Watch what happens to an order, live, until it has ended
    Watch(watch::Watch),
    /// Take an order back, while its payment has not been captured
    Cancel(orders::Cancel),
    /// Return a confirmed order, whole or in part: it is refunded and back in stock
    Return(returns::Return),
    /// List the products and their stock
    Products(catalogue::Products),
    /// Receive goods; adds the product if it is new
    Restock(catalogue::Restock),
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
    /// Undo a saga, or sagas, before the payment
    Compensate(operate::Compensate),
    /// Hold a saga
    Pause(operate::Pause),
    /// Let a paused saga go on
    Resume(operate::Resume),
    /// List what could not be handled, look inside, re-drive or discard it
    Quarantine(quarantine::Quarantine),
    /// Place a steady mix of orders until told to stop
    Load(load::Load),
    /// Ask a role whether it serves
    Health(health::Health),
}

/// Runs one command on the process's own output. The exit code is the result: 0 if it did what was
/// asked, 1 if it was refused or failed, 2 if the system cannot be reached or is too busy (calling
/// again may help), 64 for wrong usage.
pub(crate) async fn run(command: Command) -> ExitCode {
    speak(command.json(), async |console| command.ask(console).await).await
}

/// The same for a command that is defined elsewhere.
pub async fn speak(
    json: bool,
    ask: impl AsyncFnOnce(&mut Console<'_>) -> Result<Verdict, Failure>,
) -> ExitCode {
    ExitCode::from(speak_on(json, ask, &mut io::stdout(), &mut io::stderr()).await)
}

async fn speak_on(
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
            // If even this cannot be written, nobody reads it.
            let _ = console.failure(&failure);
            failure.exit_code()
        }
    }
}

impl Command {
    fn json(&self) -> bool {
        match self {
            Self::Place(c) => c.connection.json,
            Self::Orders(c) => c.connection.json,
            Self::Order(c) => c.connection.json,
            Self::Watch(c) => c.connection.json,
            Self::Cancel(c) => c.connection.json,
            Self::Return(c) => c.connection.json,
            Self::Products(c) => c.connection.json,
            Self::Restock(c) => c.connection.json,
            Self::Sagas(c) => c.connection.json,
            Self::Saga(c) => c.connection.json,
            Self::Retry(c) => c.why.connection.json,
            Self::Skip(c) => c.why.connection.json,
            Self::Resolve(c) => c.why.connection.json,
            Self::Compensate(c) => c.why.connection.json,
            Self::Pause(c) => c.why.connection.json,
            Self::Resume(c) => c.why.connection.json,
            Self::Quarantine(c) => c.json(),
            Self::Load(c) => c.connection.json,
            Self::Health(c) => c.json,
        }
    }

    async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        match self {
            Self::Place(c) => c.ask(console).await,
            Self::Orders(c) => c.ask(console).await,
            Self::Order(c) => c.ask(console).await,
            Self::Watch(c) => c.ask(console).await,
            Self::Cancel(c) => c.ask(console).await,
            Self::Return(c) => c.ask(console).await,
            Self::Products(c) => c.ask(console).await,
            Self::Restock(c) => c.ask(console).await,
            Self::Sagas(c) => c.ask(console).await,
            Self::Saga(c) => c.ask(console).await,
            Self::Retry(c) => c.ask(console).await,
            Self::Skip(c) => c.ask(console).await,
            Self::Resolve(c) => c.ask(console).await,
            Self::Compensate(c) => c.ask(console).await,
            Self::Pause(c) => c.ask(console).await,
            Self::Resume(c) => c.ask(console).await,
            Self::Quarantine(c) => c.ask(console).await,
            Self::Load(c) => c.ask(console).await,
            Self::Health(c) => c.ask(console).await,
        }
    }
}
