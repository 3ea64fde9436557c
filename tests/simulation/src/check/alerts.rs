//! Events about stuck sagas: they report only committed states, and repetitions are identical.

use std::collections::{BTreeMap, BTreeSet};

use saga_core::{Happening, SagaId, State};
use saga_engine::Write;
use saga_messaging::Message;
use serde_json::value::RawValue;

/// The versions at which sagas are stuck, by the id of the event that may report them.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    versions: BTreeMap<String, Version>,
    /// Sagas that are stuck as of their last write.
    stuck: BTreeSet<SagaId>,
}

#[derive(Debug)]
struct Version {
    /// Whether this version must be reported: the saga has just got stuck, or a reminder was due.
    due: bool,
    /// The event that has reported it.
    told: Option<Box<RawValue>>,
}

impl Alerts {
    /// Remembers a saga that was written.
    pub(super) fn committed(&mut self, write: &Write) {
        let saga = write.saga.id;
        for entry in &write.history {
            if entry.state == State::Stuck {
                let newly = self.stuck.insert(saga);
                let due = newly || entry.happening == Happening::Reminded;
                let id = format!("{saga}/stuck/{}", entry.version);
                self.versions.insert(id, Version { due, told: None });
            } else {
                self.stuck.remove(&saga);
            }
        }
    }

    /// Checks an event that has reached the broker. Returns a violation if the event is ahead of
    /// its commit or differs from an earlier copy.
    pub(super) fn arrived(&mut self, message: &Message, event: Box<RawValue>) -> Option<String> {
        let Some(version) = self.versions.get_mut(&message.id) else {
            return Some(format!("{} is told, and no row says so", message.id));
        };
        let known = version.told.get_or_insert_with(|| event.clone());
        (known.get() != event.get()).then(|| format!("two different events {}", message.id))
    }

    /// Returns the number of alerts that were due, and how many of them were never published.
    pub(super) fn due(&self) -> (usize, usize) {
        let due: Vec<&Version> = self.versions.values().filter(|version| version.due).collect();
        (due.len(), due.iter().filter(|version| version.told.is_none()).count())
    }
}
