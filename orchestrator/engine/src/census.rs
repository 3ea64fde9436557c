//! Gauges of the rows in the store. Every orchestrator exports the same values.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use metrics::{counter, gauge};
use saga_core::{Hosted, State};
use saga_messaging::answered;
use tracing::error;

use crate::{Census, Headcount, SagaReads, limits, shared::Shared};

/// Reads the census at an interval until shutdown.
pub(crate) async fn take<S: SagaReads>(shared: Arc<Shared<S>>) {
    let mut names: BTreeSet<String> =
        shared.hosted.names().map(|(name, _)| name.to_owned()).collect();
    // Counters must export zero, not a gap, before anything was counted.
    for (name, _) in shared.hosted.names() {
        counter!("saga_started_total", "definition" => name).increment(0);
        for outcome in ["completed", "compensated"] {
            counter!("saga_ended_total", "definition" => name, "outcome" => outcome).increment(0);
        }
        counter!("saga_stuck_alerts_total", "definition" => name).increment(0);
    }
    for (name, version) in shared.hosted.names() {
        let labels = [("definition", name.to_owned()), ("version", version.to_string())];
        gauge!("saga_unhosted_sagas", &labels).set(0.0);
    }
    for why in ["away", "conflict"] {
        counter!("saga_turns_retried_total", "why" => why).increment(0);
    }
    counter!("saga_impostor_alerts_total").increment(0);
    for verdict in [
        "impostor",
        "applied",
        "duplicate",
        "late",
        "foreign",
        "contradicts",
        "poison",
        "dropped",
        "undecidable",
        "unhosted",
        "passed on",
        "unknown saga",
    ] {
        counter!("saga_replies_total", "verdict" => verdict).increment(0);
    }
    for counter in [
        counter!("saga_commands_expired_total"),
        counter!("saga_commands_unsent_total"),
        counter!("saga_quarantined_total"),
        counter!("saga_stuck_events_unsent_total"),
        counter!("saga_store_silent_total"),
        counter!("saga_undecidable_total"),
        counter!("saga_woken_total"),
    ] {
        counter.increment(0);
    }
    let mut unhosted = Unhosted::default();
    loop {
        if let Ok(census) = answered(shared.store.census()).await {
            // Definitions of other binaries are exported too, once they have a saga.
            names.extend(census.unfinished.iter().map(|some| some.definition.clone()));
            show(&names, &census);
            unhosted.look(&shared.hosted, &census);
        }
        tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            () = tokio::time::sleep(limits::CENSUS_INTERVAL) => {}
        }
    }
}

/// Versions of definitions that have sagas but are not hosted by this binary (semantics 19).
#[derive(Default)]
struct Unhosted {
    /// Time of the last log line.
    logged: Option<Instant>,
    known: BTreeSet<(String, u32)>,
}

impl Unhosted {
    /// Exports and logs the versions that have sagas older than an upgrade takes.
    fn look(&mut self, hosted: &Hosted, census: &Census) {
        let mut found: BTreeMap<(String, u32), u64> =
            std::mem::take(&mut self.known).into_iter().map(|key| (key, 0)).collect();
        let bound = u64::try_from(limits::UNHOSTED_BOUND.as_millis()).unwrap_or(u64::MAX);
        for head in &census.unfinished {
            let (name, version) = (&head.definition, head.definition_version);
            if hosted.get(name, version).is_none() && head.oldest_millis > bound {
                *found.entry((name.clone(), version)).or_default() += head.count;
            }
        }
        let log = self.logged.is_none_or(|at| at.elapsed() > limits::UNHOSTED_REMINDER);
        for ((definition, version), sagas) in &found {
            let labels = [("definition", definition.clone()), ("version", version.to_string())];
            gauge!("saga_unhosted_sagas", &labels).set(*sagas as f64);
            if log && *sagas > 0 {
                self.logged = Some(Instant::now());
                error!(
                    definition,
                    version,
                    sagas,
                    "this binary does not host what these sagas run under: start one that does"
                );
            }
        }
        // A version whose sagas are gone is exported as zero from then on.
        self.known = found.into_keys().collect();
    }
}

/// Sets the gauges. A state without sagas is exported as zero.
fn show(names: &BTreeSet<String>, census: &Census) {
    let mut states: BTreeMap<(&str, &'static str), (u64, u64)> = BTreeMap::new();
    let mut paused: BTreeMap<&str, u64> = BTreeMap::new();
    for name in names {
        paused.insert(name.as_str(), 0);
        for state in [State::Running, State::Compensating, State::Stuck] {
            states.insert((name.as_str(), state.name()), (0, 0));
        }
    }
    for head in &census.unfinished {
        let Headcount { definition, definition_version: _, paused: held, state, count, .. } = head;
        let (all, oldest) = states.entry((definition, state.name())).or_default();
        *all += count;
        *oldest = (*oldest).max(head.oldest_millis);
        if *held {
            *paused.entry(definition).or_default() += count;
        }
    }
    for (definition, count) in paused {
        gauge!("saga_paused", "definition" => definition.to_owned()).set(count as f64);
    }
    for ((definition, state), (count, oldest_millis)) in states {
        let labels = [("definition", definition.to_owned()), ("state", state.to_owned())];
        gauge!("saga_sagas", &labels).set(count as f64);
        gauge!("saga_oldest_seconds", &labels).set(oldest_millis as f64 / 1e3);
    }
    gauge!("saga_quarantine_messages").set(census.quarantined as f64);
}
