//! Counts the sagas in flight, for admission and for metrics. Stuck sagas wait for a person and do
//! not count: however many there are, other sagas can be served.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use metrics::gauge;
use saga_messaging::answered;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{SagaReads, Write, limits};

/// The store's last count, plus the sagas that this engine has begun since and less those that
/// ended. Sagas of other engines are missing for at most [`limits::COUNT_INTERVAL`].
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    count: Arc<AtomicU64>,
    /// Time of the store's last count.
    counted: watch::Sender<Instant>,
}

impl InFlight {
    pub(crate) fn new() -> Self {
        Self { count: Arc::default(), counted: watch::Sender::new(Instant::now()) }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Returns the time since the store last returned its count, which is read every
    /// [`limits::COUNT_INTERVAL`].
    pub(crate) fn age(&self) -> Duration {
        self.counted.borrow().elapsed()
    }

    /// Adds sagas that have just begun to the count, and subtracts those that have just ended. Far
    /// more sagas can begin in one second than the limit on sagas in flight allows. Without this,
    /// that limit would first be overshot, and then block all requests until the next count.
    pub(crate) fn committed(&self, writes: &[Write]) {
        let ended = writes.iter().filter(|write| write.saga.ended().is_some()).count() as u64;
        let begun = writes.iter().filter(|write| write.before == 0).count() as u64;
        let _ = self
            .count
            .fetch_update(Relaxed, Relaxed, |count| Some((count + begun).saturating_sub(ended)));
    }

    /// Reads the store's count at an interval, until shutdown.
    pub(crate) async fn keep<R: SagaReads>(self, reads: R, shutdown: CancellationToken) {
        loop {
            if let Ok(count) = answered(reads.in_flight()).await {
                self.count.store(count, Relaxed);
                self.counted.send_replace(Instant::now());
                gauge!("saga_in_flight").set(count as f64);
            }
            gauge!("saga_store_age_seconds").set(self.age().as_secs_f64());
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(limits::COUNT_INTERVAL) => {}
            }
        }
    }
}
