//! What holds after a database has forgotten its last commits, as after a restore or a failover to
//! an asynchronous replica.
//!
//! Sagas that no lost commit concerns keep every promise. Of the others, still:
//!
//! - every saga that the orchestrators' database has ends, or is stuck with its reason, or paused;
//! - the provider captures at most one payment of an order, and none because an action was repeated
//!   as done after its undo was on record (an older reply that was still on its way can do so);
//! - a capture that happened is never answered as refused;
//! - rows change by the same transitions, each product's stock adds up, nobody floods the broker.
//!
//! What differs between the databases then is counted: bringing it together is `saga audit`'s and
//! an operator's work.

use std::collections::BTreeMap;

use saga_core::{Instance, SagaId};

use super::{Checks, Seen};
use crate::sim::lock;

/// What a database knew at one moment.
#[derive(Debug)]
pub(crate) enum Memento {
    /// The orchestrators' database had these sagas.
    Sagas(BTreeMap<SagaId, Instance>),
    /// A service's database had this many recorded answers.
    Answers(&'static str, usize),
}

/// Returns whether a saga takes back an order that a lost commit concerns.
pub(super) fn returns_touched(seen: &Seen, saga: &Instance) -> bool {
    seen.touched.iter().any(|order| saga.data.get().contains(&order.to_string()))
}

impl Checks {
    /// Notes what the orchestrators' database, or a service's, knows now.
    pub(crate) fn memento(&self, service: Option<&'static str>) -> Memento {
        let seen = lock(&self.seen);
        match service {
            None => Memento::Sagas(seen.sagas.clone()),
            Some(service) => {
                Memento::Answers(service, seen.recorded.get(service).map_or(0, Vec::len))
            }
        }
    }

    /// Notes that a database knows only that any more. Returns the number of lost commits' sagas.
    pub(crate) fn forgotten(&self, memento: Memento) -> usize {
        let mut seen = lock(&self.seen);
        let seen = &mut *seen;
        let lost: Vec<SagaId> = match memento {
            Memento::Sagas(before) => {
                let after = std::mem::replace(&mut seen.sagas, before);
                let stands = |saga: &Instance| {
                    seen.sagas.get(&saga.id).is_some_and(|before| before.version == saga.version)
                };
                after.values().filter(|saga| !stands(saga)).map(|saga| saga.id).collect()
            }
            Memento::Answers(service, count) => {
                let recorded = seen.recorded.entry(service).or_default();
                let lost = recorded.split_off(count.min(recorded.len()));
                lost.iter().for_each(|id| {
                    seen.answers.remove(id);
                });
                lost.iter().map(|id| id.saga).collect()
            }
        };
        let count = lost.len();
        seen.touched.extend(lost);
        let returns = seen.sagas.values().filter(|saga| returns_touched(seen, saga));
        let returns: Vec<SagaId> = returns.map(|saga| saga.id).collect();
        seen.touched.extend(returns);
        count
    }

    /// Returns whether a lost commit concerns this saga.
    pub(crate) fn touched(&self, saga: SagaId) -> bool {
        lock(&self.seen).touched.contains(&saga)
    }

    /// Returns whether any commit was lost.
    pub(crate) fn lost_commits(&self) -> bool {
        !lock(&self.seen).touched.is_empty()
    }

    /// Returns whether a saga was begun, and its row was lost.
    pub(crate) fn vanished(&self, saga: SagaId) -> bool {
        let seen = lock(&self.seen);
        seen.touched.contains(&saga) && !seen.sagas.contains_key(&saga)
    }
}
