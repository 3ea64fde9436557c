//! Gives calls access to the ledger. A single task writes: it commits all submissions that are in
//! the queue in one transaction (group commit). Under load hundreds of submissions share one wait
//! for the disk. At rest no submission waits for others.

use std::{
    slice,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rusqlite::Connection;
use saga_core::Failure;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    error::RunError,
    ledger::{Ledger, Outcome},
    request::Submission,
};

/// Maximum number of submissions in one transaction. It limits how long the first of them waits for
/// the others.
pub(crate) const MAX_BATCH: usize = 256;
/// Maximum number of submissions in the queue. Further calls wait until there is room.
const MAX_QUEUED: usize = 4 * MAX_BATCH;
/// How long closing waits until the submissions in the queue are committed.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// A call's access to the ledger. It does not keep the ledger open.
pub(crate) struct Access {
    queue: mpsc::WeakSender<Write>,
    ledger: Weak<Ledger>,
    stats: Arc<Stats>,
}

/// Keeps the ledger open and the writing task running. When it is dropped, no more submissions are
/// accepted, those in the queue are committed, and the file is closed.
pub(crate) struct Keeper {
    queue: mpsc::Sender<Write>,
    writing: JoinHandle<()>,
}

/// The reasons why a submission has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotWritten {
    /// SQLite failed. It is unknown whether the submission was committed. To find out, the caller
    /// repeats it under the same key.
    #[error("the ledger could not be written")]
    Storage,
    /// The ledger was closed, usually before the submission was committed. To find out, the caller
    /// repeats it under the same key.
    #[error("the ledger is closed")]
    Closed,
}

/// Counts of the ledger's writes since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) struct LedgerStats {
    pub(crate) writes: u64,
    pub(crate) transactions: u64,
    pub(crate) largest_batch: u64,
}

#[derive(Default)]
struct Stats {
    writes: AtomicU64,
    transactions: AtomicU64,
    largest_batch: AtomicU64,
}

struct Write {
    submission: Submission,
    outcome: oneshot::Sender<Result<Outcome, NotWritten>>,
}

impl Keeper {
    /// Starts the writing task.
    pub(crate) fn start(ledger: Ledger) -> (Self, Access) {
        let (queue, writes) = mpsc::channel(MAX_QUEUED);
        let (ledger, stats) = (Arc::new(ledger), Arc::new(Stats::default()));
        let access = Access {
            queue: queue.downgrade(),
            ledger: Arc::downgrade(&ledger),
            stats: Arc::clone(&stats),
        };
        let writing = tokio::spawn(write_until_closed(ledger, writes, stats));
        (Self { queue, writing }, access)
    }

    /// Waits until the writing task ends. While the ledger is open, only a panic can end it.
    pub(crate) async fn died(&mut self) {
        let _its_panic_is_logged = (&mut self.writing).await;
    }

    /// Waits until all submissions in the queue are committed and the file is closed.
    pub(crate) async fn close(self) -> Result<(), RunError> {
        drop(self.queue);
        tokio::time::timeout(CLOSE_WITHIN, self.writing)
            .await
            .map_err(|_| RunError::Writer("did not end in time"))?
            .map_err(|_| RunError::Writer("died"))
    }
}

impl Access {
    /// Queues a submission and waits until it is committed. Once it is queued it will be committed
    /// even if the caller stops waiting.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<Outcome, NotWritten> {
        let (outcome, answered) = oneshot::channel();
        let queue = self.queue.upgrade().ok_or(NotWritten::Closed)?;
        let queued = queue.send(Write { submission, outcome }).await;
        drop(queue);
        queued.map_err(|_| NotWritten::Closed)?;
        answered.await.unwrap_or(Err(NotWritten::Closed))
    }

    /// Reads committed data. Returns `None` if the ledger is closed or cannot be read.
    pub(crate) async fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    ) -> Option<T> {
        match self.ledger.upgrade()?.database().read(read).await {
            Ok(found) => Some(found),
            Err(error) => {
                tracing::error!(%error, "the ledger could not be read");
                None
            }
        }
    }

    pub(crate) fn stats(&self) -> LedgerStats {
        LedgerStats {
            writes: self.stats.writes.load(Ordering::Relaxed),
            transactions: self.stats.transactions.load(Ordering::Relaxed),
            largest_batch: self.stats.largest_batch.load(Ordering::Relaxed),
        }
    }
}

async fn write_until_closed(
    ledger: Arc<Ledger>,
    mut writes: mpsc::Receiver<Write>,
    stats: Arc<Stats>,
) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while writes.recv_many(&mut batch, MAX_BATCH).await > 0 {
        commit(&ledger, std::mem::take(&mut batch), &stats).await;
    }
}

/// Commits all submissions in one transaction. If that fails, commits them one by one, so that none
/// fails because of another. The second attempt is safe even if the first one was committed after
/// all, because every submission first looks for its own recorded answer.
async fn commit(ledger: &Ledger, batch: Vec<Write>, stats: &Stats) {
    if batch.len() > 1 {
        match apply(ledger, &batch, stats).await {
            Ok(outcomes) => {
                for (write, outcome) in batch.into_iter().zip(outcomes) {
                    write.answer(Ok(outcome));
                }
                return;
            }
            Err(error) => {
                let members = batch.len();
                tracing::warn!(%error, members, "a batch could not be written; one by one now");
            }
        }
    }
    for write in batch {
        let outcome = match apply(ledger, slice::from_ref(&write), stats).await {
            Ok(mut outcomes) => outcomes.pop().ok_or(NotWritten::Storage),
            Err(error) => {
                tracing::error!(%error, "the ledger could not be written");
                Err(NotWritten::Storage)
            }
        };
        write.answer(outcome);
    }
}

async fn apply(ledger: &Ledger, batch: &[Write], stats: &Stats) -> Result<Vec<Outcome>, Failure> {
    let submissions: Vec<&Submission> = batch.iter().map(|write| &write.submission).collect();
    let outcomes = ledger.apply(&submissions).await?;
    let members = batch.len() as u64;
    stats.writes.fetch_add(members, Ordering::Relaxed);
    stats.transactions.fetch_add(1, Ordering::Relaxed);
    stats.largest_batch.fetch_max(members, Ordering::Relaxed);
    Ok(outcomes)
}

impl Write {
    fn answer(self, outcome: Result<Outcome, NotWritten>) {
        // It is not a failure if the caller has disconnected: a repeat finds the committed effect.
        let _caller_is_gone = self.outcome.send(outcome);
    }
}
