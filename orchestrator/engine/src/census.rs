//! Gauges of what the store holds: the same from every orchestrator, so that any of
//! them may be asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use metrics::{counter, gauge};
use saga_core::State;

use crate::{Census, Headcount, SagaReads, engine::Shared, limits};

/// Reads the census on an interval until shutdown.
pub(crate) async fn take<S: SagaReads>(shared: Arc<Shared<S>>) {
    let mut names: BTreeSet<String> =
        shared.hosted.names().map(|(name, _)| name.to_owned()).collect();
    // What has not happened yet is a zero, not a gap.
    for (name, _) in shared.hosted.names() {
        counter!("saga_started_total", "definition" => name).increment(0);
        for outcome in ["completed", "compensated"] {
            counter!("saga_ended_total", "definition" => name, "outcome" => outcome).increment(0);
        }
        counter!("saga_stuck_alerts_total", "definition" => name).increment(0);
    }
    for why in ["away", "conflict"] {
        counter!("saga_turns_retried_total", "why" => why).increment(0);
    }
    for verdict in ["applied", "duplicate", "late", "foreign", "poison"] {
        counter!("saga_replies_total", "verdict" => verdict).increment(0);
    }
    for counter in [
        counter!("saga_commands_expired_total"),
        counter!("saga_commands_unsent_total"),
        counter!("saga_quarantined_total"),
        counter!("saga_undecidable_total"),
        counter!("saga_woken_total"),
    ] {
        counter.increment(0);
    }
    loop {
        if let Ok(census) = shared.store.census().await {
            // Definitions that others host are shown too, and from then on always.
            names.extend(census.unfinished.iter().map(|some| some.definition.clone()));
            show(&names, &census);
        }
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            () = tokio::time::sleep(limits::CENSUS_INTERVAL) => {}
        }
    }
}

/// A state without sagas is a zero.
fn show(names: &BTreeSet<String>, census: &Census) {
    let mut states: BTreeMap<(&str, &'static str), (u64, u64)> = BTreeMap::new();
    for name in names {
        for state in [State::Running, State::Compensating, State::Stuck] {
            states.insert((name.as_str(), state.name()), (0, 0));
        }
    }
    for Headcount { definition, state, count, oldest_millis } in &census.unfinished {
        states.insert((definition, state.name()), (*count, *oldest_millis));
    }
    for ((definition, state), (count, oldest_millis)) in states {
        let labels = [("definition", definition.to_owned()), ("state", state.to_owned())];
        gauge!("saga_sagas", &labels).set(count as f64);
        gauge!("saga_oldest_seconds", &labels).set(oldest_millis as f64 / 1e3);
    }
    gauge!("saga_quarantine_messages").set(census.quarantined as f64);
}
