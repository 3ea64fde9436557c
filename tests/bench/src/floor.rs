//! The floor: the number of sagas a second that the databases alone can do.
//!
//! The floor is measured with orders like those of the run. The adapters carry them out directly, a
//! batch at a time: the orchestrator's store admits and turns them, and each service's handlers
//! write its tables. `shop` does that over any adapters; `postgres` and `sqlite` give it fresh
//! databases. There are no messages, no gRPC and no payment provider. No orchestrator that keeps
//! these rows in this database can be faster. A system's distance from the floor is the cost of
//! everything else.

pub(crate) mod postgres;
mod shop;
pub(crate) mod sqlite;

use std::time::Duration;

use crate::path::Timing;

/// Sagas in one batch: the most that an orchestrator takes at once under load.
pub(super) const BATCH: usize = 256;
/// Batches under way at once: one for each database.
const WORKERS: usize = 4;

/// The number and the length of the rounds of a measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    pub(super) count: u32,
    pub(super) time: Duration,
}

/// The databases' own limit, and the time of one durable commit.
#[derive(Clone, Debug)]
pub(super) struct Floor {
    pub(super) sagas_a_second: f64,
    /// Answers that participants record for one saga.
    pub(super) local_transactions_a_saga: f64,
    /// Transactions for one batch.
    pub(super) commits_a_batch: usize,
    /// Rows inserted or updated for one saga.
    pub(super) rows_a_saga: f64,
    pub(super) commit: Timing,
}
