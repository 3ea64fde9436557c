//! Deterministic simulation of the whole system: one seed, one run.
//!
//! Everything that decides is real: the core, the engine's loops, the participants' kit and rules,
//! the payment's client with its breaker, the provider's rules and ledger, the SQLite adapters in
//! memory. Everything around that is decided by the seed. Messages are lost before they are
//! confirmed, repeated, late and out of order. Commits fail, or their answers are lost. Processes
//! die at any await and at named points. The provider is slow, silent or away, and the databases'
//! clocks jump. Then everything heals, and every saga must end, with the books in order.
//!
//! There is one thread, one paused clock and one source of chance, so a seed gives the same run in
//! every process. Two things this cannot show: races between Postgres' transactions, because SQLite
//! has one writer, and the behaviour of a real broker.
//!
//! Read first: [`run`] and `world.rs`, then `check.rs` (the conditions that must hold).

mod audit;
mod books;
mod broker;
mod check;
mod clients;
mod dice;
mod every_saga;
mod faults;
mod inbox;
mod life;
mod meddler;
mod planted;
mod processes;
mod provider;
mod report;
mod saga_store;
mod shop;
mod sim;
mod transport;
mod world;

pub use every_saga::{
    Subject, every_refusal_leaves_nothing, no_unknown_outcome_leaves_anything,
    repetition_changes_nothing,
};
pub use planted::Planted;
pub use report::{Outcome, Summary};
pub use shop::Shop;
pub use world::{Options, run};
