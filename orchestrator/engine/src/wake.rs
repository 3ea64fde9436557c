//! Wakes sagas that are due. Whatever went wrong before, a saga continues from here.

use std::{sync::Arc, time::SystemTime};

use metrics::counter;
use saga_core::{Input, Instance, OutgoingCommand, Timestamp};
use saga_messaging::answered;
use tokio::sync::mpsc;
use tracing::warn;

use crate::{
    SagaStore, Write,
    fold::{Cue, Fate, fold},
    limits,
    outgoing::Outgoing,
    shared::{Shared, Turned},
};

/// Claims due sagas until shutdown. Claims nothing while the stage is full of batches that wait for
/// confirms. So even a long outage of the broker uses up attempts only for those few batches.
/// After a failure the next batch has half the size, because a large one may take longer than a
/// statement may.
pub(crate) async fn claim<S: SagaStore>(
    shared: Arc<Shared<S>>,
    to_confirm: mpsc::Sender<Outgoing>,
) {
    let definitions: Vec<(&'static str, u32)> = shared.hosted.names().collect();
    let mut limit = limits::MAX_BATCH;
    loop {
        let Ok(place) = to_confirm.reserve().await else { return };
        let mut outgoing = Outgoing::default();
        let claimed = claim_once(&shared, &definitions, limit, &mut outgoing).await;
        place.send(outgoing);
        let more = claimed == Ok(limit);
        limit = match claimed {
            Ok(_) => (limit * 2).min(limits::MAX_BATCH),
            Err(NotClaimed) => (limit / 2).max(1),
        };
        if !more {
            tokio::select! {
                biased;
                () = shared.shutdown.cancelled() => return,
                () = tokio::time::sleep(limits::CLAIM_INTERVAL) => {}
            }
        }
        if shared.shutdown.is_cancelled() {
            return;
        }
    }
}

/// The store did not say which sagas are due.
#[derive(Debug, PartialEq, Eq)]
struct NotClaimed;

/// Claims up to `limit` sagas, and returns how many it has claimed.
async fn claim_once<S: SagaStore>(
    shared: &Shared<S>,
    definitions: &[(&'static str, u32)],
    limit: usize,
    outgoing: &mut Outgoing,
) -> Result<usize, NotClaimed> {
    let decide = |now: Timestamp, sagas: Vec<Instance>| {
        let claimed = sagas.len();
        let mut turned = Turned::at(now);
        for saga in sagas {
            let mut left_alone = saga.clone();
            let fates = turned.add(fold(&shared.hosted, saga, [Cue::own(&Input::Wake)], now));
            if matches!(fates[..], [Fate::Undecidable | Fate::Unhosted]) {
                left_alone.wake_at = Some(now.plus_millis(limits::UNDECIDABLE_PAUSE_MILLIS));
                let before = left_alone.version;
                turned.writes.push(Write { before, saga: left_alone, history: Vec::new() });
            }
        }
        (turned.writes.clone(), (turned, claimed))
    };
    let began = SystemTime::now();
    match answered(shared.store.claim(definitions, limit, decide)).await {
        Ok((turned, claimed)) => {
            counter!("saga_woken_total").increment(claimed as u64);
            turned.send.iter().for_each(count_resent);
            shared.committed(began, turned, |_| None, outgoing);
            Ok(claimed)
        }
        Err(failure) => {
            warn!(%failure, limit, "fewer due sagas are looked for shortly");
            Err(NotClaimed)
        }
    }
}

/// Counts a command that is sent again because its answer is late.
fn count_resent(command: &OutgoingCommand) {
    if command.attempt > 1 {
        counter!(
            "saga_resends_total",
            "definition" => command.definition,
            "step" => command.id.step.clone(),
            "direction" => command.id.direction.as_str()
        )
        .increment(1);
    }
}
