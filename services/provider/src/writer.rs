//! The one thread that writes. It takes whatever has queued up and commits it in one transaction (group commit), so that
//! under load a wait for the disk is shared by hundreds, and at rest nobody waits for company.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::error::RunError;
use crate::ledger::{Ledger, Outcome};
use crate::request::Submission;

/// The most submissions that share a transaction: bounds how long the first of them waits for the others.
pub(crate) const MAX_BATCH: usize = 256;
/// The most submissions that wait for the writer; whoever comes next waits at the door, in its own connection.
const MAX_QUEUED: usize = 4 * MAX_BATCH;
/// How long the end waits for what is still queued to be committed.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// The way to the ledger.
pub(crate) struct Writer {
    way: Way,
    stats: Arc<Stats>,
    ended: CancellationToken,
}

enum Way {
    /// To the writing thread.
    Thread(mpsc::Sender<Message>),
    /// In memory there is no disk to wait for, and so no thread.
    Here(Arc<Mutex<Ledger>>, Now),
}

/// The time, in Unix milliseconds.
pub(crate) type Now = Box<dyn Fn() -> i64 + Send + Sync>;

/// Owns the thread; whoever has it can end it.
pub(crate) struct WriterThread {
    queue: mpsc::Sender<Message>,
    ended: CancellationToken,
    thread: JoinHandle<()>,
}

/// Why a submission has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotWritten {
    /// SQLite refused; whether the commit survived is unknown, and a repeat under the same key finds out.
    #[error("the ledger could not be written")]
    Storage,
    /// The writer has ended, usually before it saw the submission; if it died, a repeat under the same key finds out.
    #[error("the ledger is closed")]
    Closed,
}

/// What the writer has done since it started.
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

enum Message {
    Apply(Write),
    Close,
}

struct Write {
    submission: Submission,
    outcome: oneshot::Sender<Result<Outcome, NotWritten>>,
}

impl Writer {
    /// Starts the thread over an open ledger.
    pub(crate) fn start(ledger: Ledger) -> Result<(Self, WriterThread), RunError> {
        let (queue, messages) = mpsc::channel(MAX_QUEUED);
        let (stats, ended) = (Arc::new(Stats::default()), CancellationToken::new());
        let (counted, guard) = (Arc::clone(&stats), ended.clone().drop_guard());
        let thread = std::thread::Builder::new()
            .name("provider-ledger".to_owned())
            .spawn(move || write_until_closed(ledger, messages, &counted, guard))
            .map_err(|_| RunError::Writer("could not be started"))?;
        let owner = WriterThread { queue: queue.clone(), ended: ended.clone(), thread };
        Ok((Self { way: Way::Thread(queue), stats, ended }, owner))
    }

    /// Over a ledger in memory, by a clock of the caller's.
    pub(crate) fn here(ledger: Arc<Mutex<Ledger>>, now: Now) -> Self {
        let (stats, ended) = (Arc::new(Stats::default()), CancellationToken::new());
        Self { way: Way::Here(ledger, now), stats, ended }
    }

    /// Queues a submission and waits until it is committed. It is committed even if nobody waits any more.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<Outcome, NotWritten> {
        match &self.way {
            Way::Thread(queue) => {
                let (outcome, answered) = oneshot::channel();
                let message = Message::Apply(Write { submission, outcome });
                queue.send(message).await.map_err(|_| NotWritten::Closed)?;
                answered.await.unwrap_or(Err(NotWritten::Closed))
            }
            Way::Here(ledger, now) => {
                let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
                match apply(&mut ledger, &[&submission], now(), &self.stats) {
                    Ok(mut outcomes) => outcomes.pop().ok_or(NotWritten::Storage),
                    Err(error) => {
                        tracing::error!(%error, "the ledger could not be written");
                        Err(NotWritten::Storage)
                    }
                }
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

    /// Returns when the thread has ended, for whatever reason.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

impl WriterThread {
    /// Lets the thread commit what is queued, close the file and end.
    pub(crate) async fn close(self) -> Result<(), RunError> {
        let closing = async {
            // An error means that the thread has ended already, and `join` says how.
            let _already_ended = self.queue.send(Message::Close).await;
            self.ended.cancelled().await;
        };
        tokio::time::timeout(CLOSE_WITHIN, closing)
            .await
            .map_err(|_| RunError::Writer("did not end in time"))?;
        self.thread.join().map_err(|_| RunError::Writer("died"))
    }
}

fn write_until_closed(
    mut ledger: Ledger,
    mut messages: mpsc::Receiver<Message>,
    stats: &Stats,
    ended: DropGuard,
) {
    let mut received = Vec::with_capacity(MAX_BATCH);
    while messages.blocking_recv_many(&mut received, MAX_BATCH) > 0 {
        let mut batch = Vec::with_capacity(received.len());
        for message in received.drain(..) {
            match message {
                Message::Apply(write) => batch.push(write),
                // What is queued already is still received, and then the loop ends.
                Message::Close => messages.close(),
            }
        }
        if !batch.is_empty() {
            commit(&mut ledger, batch, stats);
        }
    }
    if let Err(error) = ledger.close() {
        tracing::warn!(%error, "the ledger was not closed cleanly; it recovers when it is opened again");
    }
    drop(ended);
}

/// All in one transaction; if that fails, one by one, so that nobody fails for a neighbour's sake. Repeating is safe even if
/// the failed commit did survive: every submission first looks for its own recorded answer.
fn commit(ledger: &mut Ledger, batch: Vec<Write>, stats: &Stats) {
    let submissions: Vec<&Submission> = batch.iter().map(|write| &write.submission).collect();
    match apply(ledger, &submissions, now_ms(), stats) {
        Ok(outcomes) => {
            for (write, outcome) in batch.into_iter().zip(outcomes) {
                write.answer(Ok(outcome));
            }
        }
        Err(error) if batch.len() == 1 => {
            tracing::error!(%error, "the ledger could not be written");
            batch.into_iter().for_each(|write| write.answer(Err(NotWritten::Storage)));
        }
        Err(error) => {
            tracing::warn!(%error, members = batch.len(), "a batch could not be written; taking its members one by one");
            batch.into_iter().for_each(|write| commit(ledger, vec![write], stats));
        }
    }
}

fn apply(
    ledger: &mut Ledger,
    submissions: &[&Submission],
    now_ms: i64,
    stats: &Stats,
) -> rusqlite::Result<Vec<Outcome>> {
    let outcomes = ledger.apply(submissions, now_ms)?;
    let members = submissions.len() as u64;
    stats.writes.fetch_add(members, Ordering::Relaxed);
    stats.transactions.fetch_add(1, Ordering::Relaxed);
    stats.largest_batch.fetch_max(members, Ordering::Relaxed);
    Ok(outcomes)
}

impl Write {
    fn answer(self, outcome: Result<Outcome, NotWritten>) {
        // Nobody listening is no failure: the effect is committed, and a repeat finds it.
        let _nobody_listens = self.outcome.send(outcome);
    }
}

fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}
