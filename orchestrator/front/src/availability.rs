//! Tracks whether payments are possible. It asks the payment service in the background, so that no
//! order waits for that answer.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use saga_proto::payment::v1::{ReadAvailabilityRequest, payments_client::PaymentsClient};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::settings::{AVAILABILITY_INTERVAL, AVAILABILITY_TIMEOUT};

/// The last known state of the payment provider. An unknown state counts as available: if an order
/// cannot be paid in time it is undone, and no harm is done.
#[derive(Clone, Default)]
pub(crate) struct Availability {
    away: Arc<Mutex<Option<Away>>>,
}

/// An outage of the provider. It began at `since`.
#[derive(Clone, Copy)]
struct Away {
    since: Instant,
    /// Time at which the provider will be tried again.
    probed: Instant,
}

impl Availability {
    /// If the provider has been unavailable for at least `patience`, returns the time until it is
    /// tried again.
    pub(crate) fn away_for(&self, patience: Duration) -> Option<Duration> {
        let away = (*self.away.lock().expect("nothing panics while holding it"))?;
        let now = Instant::now();
        (now.saturating_duration_since(away.since) >= patience)
            .then(|| away.probed.saturating_duration_since(now))
    }

    /// Asks the payment service every second, until shutdown.
    pub(crate) async fn follow(self, channel: Channel, shutdown: CancellationToken) {
        let mut tick = tokio::time::interval(AVAILABILITY_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = tick.tick() => {}
            }
            let away = ask(channel.clone()).await;
            *self.away.lock().expect("nothing panics while holding it") = away;
        }
    }
}

async fn ask(channel: Channel) -> Option<Away> {
    let mut payments = PaymentsClient::new(channel);
    let asked = payments.read_availability(ReadAvailabilityRequest {});
    let answer = tokio::time::timeout(AVAILABILITY_TIMEOUT, asked).await.ok()?.ok()?.into_inner();
    if answer.breaker == "closed" {
        return None;
    }
    let millis = |millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    let now = Instant::now();
    Some(Away {
        since: now.checked_sub(millis(answer.away_millis)).unwrap_or(now),
        probed: now.checked_add(millis(answer.retry_after_millis)).unwrap_or(now),
    })
}
