//! Retention of sagas: raises the watermark, and deletes the sagas below it.
//!
//! Every engine does both, and none leads: the watermark only goes forward, and rows that another
//! engine is deleting are skipped. Participants receive the watermark with their commands
//! ([`saga_messaging::CommandBody::watermark`]), and delete their own records.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use metrics::{counter, gauge};
use saga_core::{Failure, SagaId, Timestamp, Watermark, clocks_agree};
use saga_messaging::answered;
use saga_trace::trace_id;
use tokio::{sync::watch, time::Instant};
use tracing::warn;

use crate::{SagaReads, limits, shared::Shared};

/// The port to a store that deletes old sagas.
pub trait Retention: Clone + Send + Sync + 'static {
    /// Raises the watermark as far as [`Watermark::reach`] allows, durably. It never goes back,
    /// even if the clock does or the retention becomes longer. A store with a clock of its own does
    /// not raise it while that clock and this process's do not [agree](clocks_agree).
    fn advance(
        &self,
        retention_millis: u64,
    ) -> impl Future<Output = Result<Horizon, Failure>> + Send;

    /// Returns the current watermark.
    fn watermark(&self) -> impl Future<Output = Result<Watermark, Failure>> + Send;

    /// Deletes the first ended sagas of a range, with their histories and keys, in one transaction.
    /// Skips rows that others have locked, sagas that have not ended, and sagas that are not below
    /// the stored watermark.
    fn prune(&self, range: &Range) -> impl Future<Output = Result<Pruned, Failure>> + Send;
}

/// The stored watermark, and the state of the store that determined it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// The watermark. Sagas below it may have been deleted.
    pub watermark: Watermark,
    /// The store's time.
    pub now: Timestamp,
    /// The oldest saga that has not ended. It holds the watermark back.
    pub oldest: Option<SagaId>,
}

/// The sagas to prune in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first saga of the range.
    pub from: SagaId,
    /// The end of the range. Sagas that are not below the stored watermark are skipped.
    pub below: Watermark,
    /// Largest number of sagas to prune.
    pub limit: usize,
    /// True if the sagas are only counted, not deleted.
    pub dry: bool,
}

/// Numbers of rows that were deleted or, on a dry run, would be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Number of sagas.
    pub sagas: u64,
    /// Number of rows in their histories.
    pub history: u64,
    /// Number of idempotency keys.
    pub keys: u64,
    /// Number of messages of the quarantine that an operator handled before the watermark's
    /// instant. They are deleted once no saga of the range is left.
    pub quarantined: u64,
    /// The saga from which the next call continues; `None` at the end of the range.
    pub next: Option<SagaId>,
}

impl Range {
    /// Makes the range of all sagas below a watermark.
    #[must_use]
    pub fn below(below: Watermark) -> Self {
        let from = Watermark::NONE.id();
        Self { from, below, limit: limits::PRUNE_BATCH, dry: false }
    }
}

impl Pruned {
    /// For stores: returns the saga from which to continue after this batch of pruned sagas.
    #[must_use]
    pub fn next(batch: &[SagaId], range: &Range) -> Option<SagaId> {
        let full = batch.len() >= range.limit;
        batch.last().filter(|_| full).map(|last| last.following())
    }
}

/// Raises the watermark and prunes below it at an interval, until shutdown.
pub(crate) async fn keep<S: Retention + SagaReads>(
    shared: Arc<Shared<S>>,
    retention: Duration,
    known: watch::Sender<Watermark>,
) {
    let millis = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
    let interval = (retention / 4).clamp(limits::LEAST_PRUNE_INTERVAL, limits::PRUNE_INTERVAL);
    for what in ["sagas", "history", "keys", "quarantined"] {
        counter!("saga_pruned_total", "what" => what).increment(0);
    }
    let mut logged = None;
    loop {
        let until = Instant::now() + interval;
        match answered(shared.store.advance(millis)).await {
            Ok(horizon) => {
                show(&horizon);
                log_held(&shared.store, &horizon, &mut logged).await;
                known.send_replace(horizon.watermark);
                if let Err(failure) = prune(&shared, horizon.watermark, until).await {
                    warn!(%failure, "pruning goes on later");
                }
            }
            Err(failure) => warn!(%failure, "the watermark is raised later"),
        }
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

/// Prunes in small batches until no saga is left or `until` has come. The next call continues with
/// the rest.
async fn prune<S: Retention>(
    shared: &Shared<S>,
    below: Watermark,
    until: Instant,
) -> Result<(), Failure> {
    let mut range = Range::below(below);
    loop {
        let began = Instant::now();
        let pruned = answered(shared.store.prune(&range)).await?;
        count(&pruned);
        let Some(next) = pruned.next else { return Ok(()) };
        range.from = next;
        // Running sagas have priority, so pruning uses only a third of a connection's time.
        let pause = began.elapsed() * 2;
        if Instant::now() + pause >= until {
            return Ok(());
        }
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
    }
}

fn count(pruned: &Pruned) {
    let Pruned { sagas, history, keys, quarantined, next: _ } = *pruned;
    for (what, rows) in
        [("sagas", sagas), ("history", history), ("keys", keys), ("quarantined", quarantined)]
    {
        counter!("saga_pruned_total", "what" => what).increment(rows);
    }
}

impl Horizon {
    fn seconds_since(&self, since: Timestamp) -> f64 {
        // An instant in the future counts like one that lies equally far in the past.
        self.now.0.abs_diff(since.0) as f64 / 1e6
    }

    /// Returns the time on this process's clock.
    fn here() -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// Returns the age of the oldest saga that has not ended.
    fn held_seconds(&self) -> f64 {
        self.oldest.map_or(0.0, |saga| self.seconds_since(saga.made_at()))
    }
}

fn show(horizon: &Horizon) {
    if horizon.watermark != Watermark::NONE {
        let age = horizon.seconds_since(horizon.watermark.instant());
        gauge!("saga_watermark_age_seconds").set(age);
    }
    gauge!("saga_watermark_held_seconds").set(horizon.held_seconds());
    let here = Horizon::here();
    let ahead = horizon.now.0.saturating_sub(here.0) as f64 / 1e6;
    gauge!("saga_store_clock_ahead_seconds").set(ahead);
    if !clocks_agree(horizon.now, here) {
        warn!(
            ahead,
            "the store's clock and this process's differ: the watermark stays where it is"
        );
    }
}

/// Logs the saga that holds the watermark back, at most once per interval.
async fn log_held<R: SagaReads>(reads: &R, horizon: &Horizon, logged: &mut Option<Instant>) {
    let held = horizon.held_seconds();
    if let Some(saga) = horizon.oldest
        && held > limits::HELD_LONG.as_secs_f64()
        && logged.is_none_or(|at: Instant| at.elapsed() > limits::HELD_LOG_INTERVAL)
    {
        *logged = Some(Instant::now());
        let days = held / 86_400.0;
        let found = answered(reads.find(&[saga])).await.unwrap_or_default();
        let trace_id = trace_id(found.first().and_then(|saga| saga.traceparent.as_deref()));
        warn!(%saga, trace_id, days, "the saga has not ended and holds the watermark back: nothing younger is pruned");
    }
}
