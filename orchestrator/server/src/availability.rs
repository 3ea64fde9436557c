//! Whether a payment can be tried: asked for in the background, so that no order
//! waits for the answer.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use saga_proto::payment::v1::{ReadAvailabilityRequest, payments_client::PaymentsClient};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::settings::{AVAILABILITY_INTERVAL, AVAILABILITY_TIMEOUT};

/// What is known of the payment provider. Not knowing counts as available: an
/// order that cannot be paid in time is undone, which is no harm.
#[derive(Clone, Default)]
pub(crate) struct Availability {
    /// Until when no payment will be tried.
    away_until: Arc<Mutex<Option<Instant>>>,
}

impl Availability {
    /// How long no payment will be tried, if that is known.
    pub(crate) fn away_for(&self) -> Option<Duration> {
        let until = (*self.away_until.lock().expect("nothing panics while holding it"))?;
        until.checked_duration_since(Instant::now())
    }

    /// Asks every second until shutdown.
    pub(crate) async fn follow(self, channel: Channel, shutdown: CancellationToken) {
        let mut tick = tokio::time::interval(AVAILABILITY_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = tick.tick() => {}
            }
            let away_until = ask(channel.clone()).await;
            *self.away_until.lock().expect("nothing panics while holding it") = away_until;
        }
    }
}

async fn ask(channel: Channel) -> Option<Instant> {
    let mut payments = PaymentsClient::new(channel);
    let asked = payments.read_availability(ReadAvailabilityRequest {});
    let answer = tokio::time::timeout(AVAILABILITY_TIMEOUT, asked).await.ok()?.ok()?.into_inner();
    if answer.breaker != "open" {
        return None;
    }
    let away = Duration::from_millis(u64::try_from(answer.retry_after_millis).ok()?);
    Instant::now().checked_add(away)
}
