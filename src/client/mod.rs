//! The commands for the shop's clients. A shell, a script or a person uses them to call a running
//! system. The commands for operators are in `saga_cli`.
//!
//! They use only the published gRPC contract (`proto/shop/saga/shop`): no database, no broker, and
//! no type of any role. They keep no state between two calls. They never repeat a write by
//! themselves, but print the key under which it can be repeated.
//!
//! Read first: [`Command`], [`run`], and [`Console`], through which all output goes.

pub mod again;
mod catalogue;
pub mod goods;
mod items;
mod load;
mod money;
mod orders;
mod place;
mod returns;
#[cfg(test)]
mod tests;
mod watch;

use std::process::ExitCode;

use saga_cli::{Console, Failure, Verdict};

pub use orders::status_name as order_status_name;

/// A request of a client or an operator to a running system.
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
    /// Place a steady mix of orders until told to stop
    Load(load::Load),
    #[command(flatten)]
    Operate(saga_cli::Command),
}

/// Runs one command on the process's own output, and returns its exit code: see [`saga_cli::run`].
pub(crate) async fn run(command: Command) -> ExitCode {
    saga_cli::run(command.json(), async |console| command.ask(console).await).await
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
            Self::Load(c) => c.connection.json,
            Self::Operate(c) => c.json(),
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
            Self::Load(c) => c.ask(console).await,
            Self::Operate(c) => c.ask(console).await,
        }
    }
}
