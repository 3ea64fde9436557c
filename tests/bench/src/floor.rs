//! The floor: the very rows that these sagas have written, written again, set-wise, in batches, and nothing else. No
//! reading, no deciding, no message. No orchestrator that keeps its promises on this database can be faster, and how far
//! a system is from it is the cost of everything that is not writing.
//!
//! `plan` says which row is written in which transaction, `rows` what is in it (read from the system that was measured),
//! `postgres` and `sqlite` write.

mod plan;
pub(super) mod postgres;
mod rows;
pub(super) mod sqlite;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::{figures::median, path::Timing};
use plan::Batch;

/// Sagas of one batch: as many as an orchestrator takes at most under load.
pub(super) const BATCH: usize = 256;
/// How many of a system's last sagas are written again and again, under new ids.
pub(super) const SAMPLE: usize = 16 * BATCH;
/// How many batches are under way at once: as many as there are databases to write to.
pub(super) const WORKERS: usize = 4;

/// How long to measure, and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounds {
    pub(super) count: u32,
    pub(super) time: Duration,
}

/// What the database alone can do, and how long its one durable commit takes.
#[derive(Clone, Debug)]
pub(super) struct Floor {
    pub(super) sagas_a_second: f64,
    /// Answers that participants recorded, a saga: of those that were written again.
    pub(super) local_transactions_a_saga: f64,
    /// Transactions of a batch.
    pub(super) commits_a_batch: usize,
    /// Rows inserted or updated, a saga.
    pub(super) rows_a_saga: f64,
    pub(super) commit: Timing,
}

/// A batch with ids of its own, which is written now.
struct Numbered {
    batches: Arc<Vec<Batch>>,
    ids: Vec<Uuid>,
    /// Part of every key.
    run: u64,
}

impl Numbered {
    fn batch(&self) -> &Batch {
        &self.batches[(self.run % self.batches.len() as u64) as usize]
    }
}

/// The next batches, again and again.
struct Supply {
    batches: Arc<Vec<Batch>>,
    next: AtomicU64,
}

impl Supply {
    fn new(batches: Arc<Vec<Batch>>) -> Self {
        Self { batches, next: AtomicU64::new(0) }
    }

    fn next(&self) -> Numbered {
        let run = self.next.fetch_add(1, Ordering::Relaxed);
        let mut next = Numbered { batches: Arc::clone(&self.batches), ids: Vec::new(), run };
        next.ids = (0..next.batch().sagas).map(|_| Uuid::now_v7()).collect();
        next
    }
}

/// Sagas a second, over rounds of which each says how many it has written.
fn rate(rounds: &[(u64, Duration)]) -> f64 {
    let rates = rounds.iter().map(|(sagas, time)| *sagas as f64 / time.as_secs_f64()).collect();
    median(rates).unwrap_or_default()
}

fn is_over(began: Instant, rounds: Rounds) -> bool {
    began.elapsed() >= rounds.time
}

/// What a sample of sagas amounts to, a saga.
fn amounts(batches: &[Batch]) -> (f64, f64) {
    let sagas: usize = batches.iter().map(|batch| batch.sagas).sum();
    let answers: usize = batches.iter().map(|batch| batch.answers).sum();
    let rows: usize =
        batches.iter().flat_map(|b| b.statements.iter().flatten()).map(|s| s.rows()).sum();
    (answers as f64 / sagas as f64, rows as f64 / sagas as f64)
}
