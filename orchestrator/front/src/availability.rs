//! Availability of payments. It is asked for in the background, so that no order waits for the
//! answer.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use saga_proto::payment::v1::{ReadAvailabilityRequest, payments_client::PaymentsClient};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::settings::{AVAILABILITY_INTERVAL, AVAILABILITY_TIMEOUT};

/// The last known state of the payment provider. An unknown state counts as available: an order
/// that cannot be paid in time is undone, which does no harm.
#[derive(Clone, Default)]
pub(crate) struct Availability {
    away: Arc<Mutex<Option<Away>>>,
}

/// The provider is away.
#[derive(Clone, Copy)]
struct Away {
    since: Instant,
    /// Time of the next attempt.
    probed: Instant,
}

impl Availability {
    /// If the provider has been away for at least `patience`: the time until the next attempt.
    pub(crate) fn away_for(&self, patience: Duration) -> Option<Duration> {
        let away = (*self.away.lock().expect("nothing panics while holding it"))?;
        let now = Instant::now();
        (now.saturating_duration_since(away.since) >= patience)
            .then(|| away.probed.saturating_duration_since(now))
    }

    /// Asks every second, until shutdown.
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
