//! What is told of stuck sagas: nothing that is not committed, and always the same.

use std::collections::{BTreeMap, BTreeSet};

use saga_core::{Happening, SagaId, State};
use saga_engine::Write;
use saga_messaging::Message;
use serde_json::value::RawValue;

/// Versions at which a saga is stuck, by the id of the event that may say so.
#[derive(Debug, Default)]
pub(super) struct Alerts {
    versions: BTreeMap<String, Version>,
    /// Sagas that are stuck as of their last write.
    stuck: BTreeSet<SagaId>,
}

#[derive(Debug)]
struct Version {
    /// Whether it must be told: it got stuck just now, or it was time for a reminder.
    due: bool,
    /// What was told of it.
    told: Option<Box<RawValue>>,
}

impl Alerts {
    /// A saga was written.
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

    /// An event has reached the broker. Says what is wrong with it: it is never ahead of
    /// its commit, and a repetition says the same.
    pub(super) fn arrived(&mut self, message: &Message, event: Box<RawValue>) -> Option<String> {
        let Some(version) = self.versions.get_mut(&message.id) else {
            return Some(format!("{} is told, and no row says so", message.id));
        };
        let known = version.told.get_or_insert_with(|| event.clone());
        (known.get() != event.get()).then(|| format!("two different events {}", message.id))
    }

    /// How many were due, and of these how many nobody has heard of.
    pub(super) fn due(&self) -> (usize, usize) {
        let due: Vec<&Version> = self.versions.values().filter(|version| version.due).collect();
        (due.len(), due.iter().filter(|version| version.told.is_none()).count())
    }
}
