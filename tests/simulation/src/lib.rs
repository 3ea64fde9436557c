//! Deterministic simulation of the whole system: one seed, one run.
//!
//! All code that decides is real: the core, the engine's loops, the participants' kit and rules,
//! the payment service's client with its breaker, the provider's rules and ledger, and the SQLite
//! adapters in memory. The seed decides on everything around that code. Messages are lost before
//! they are confirmed, repeated, late and out of order. Commits fail, or their answers are lost.
//! Processes die at any await and at named points. The provider is slow, silent or away, and the
//! databases' clocks jump. Then everything heals, every saga must end, and the audit must pass.
//!
//! There is one thread, one paused clock and one source of chance, so a seed gives the same run in
//! every process. The simulation cannot show two things: races between Postgres' transactions,
//! because SQLite has one writer, and the behaviour of a real broker.
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
mod forger;
mod forget;
mod inbox;
mod judge;
mod life;
mod meddler;
mod plan;
mod planted;
mod processes;
mod provider;
mod report;
mod saga_store;
mod shop;
mod sim;
mod stranger;
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
