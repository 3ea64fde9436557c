//! Rules for messages that have reached the broker.

use std::collections::BTreeSet;

use saga_core::{CommandId, Direction, Instance, SagaId, State, StepState};
use saga_messaging::{Body, Envelope, Message, Outcome, Route, parcel};
use serde_json::value::RawValue;

use super::{Checks, Seen, money::refused_although_captured};
use crate::{sim::lock, transport::short};

impl Checks {
    /// Checks an event that has reached the broker.
    pub(crate) fn event_arrived(&self, message: &Message) {
        let Ok(raw) = serde_json::from_slice::<Box<RawValue>>(&message.body) else {
            return self.sim.violated(format!("the event {} is no JSON", message.id));
        };
        if message.route == (Route::Event { key: "saga.stuck".to_owned() }) {
            let mut seen = lock(&self.seen);
            let saga = message.id.split('/').next().and_then(|saga| saga.parse().ok());
            if saga.is_some_and(|saga| seen.touched.contains(&saga)) {
                return;
            }
            let wrong = seen.alerts.arrived(message, raw);
            return wrong.into_iter().for_each(|wrong| self.sim.violated(wrong));
        }
        let Ok(Envelope { id, body: Body::Event(event), data, .. }) = Envelope::read(&raw) else {
            return self.sim.violated(format!("the event {} is none", message.id));
        };
        let mut seen = lock(&self.seen);
        if seen.touched.contains(&id.saga) {
            return;
        }
        if seen.answers.get(&id) != Some(&Some(event.sequence)) {
            self.sim.violated(format!("an event of {id}, whose answer is not on record"));
        }
        let known = seen.events.entry((id.saga, event.sequence)).or_insert_with(|| data.clone());
        if known.get() != data.get() {
            self.sim.violated(format!("two different events {} of {}", event.sequence, id.saga));
        }
    }

    /// Checks a message that has reached the broker.
    pub(crate) fn message_arrived(&self, message: &Message) {
        let healed = self.sim.healed();
        let members = match &message.route {
            Route::Command { .. } | Route::Again { .. } | Route::Reply { .. } => {
                parcel::read(&message.body)
            }
            // An orchestrator passes on a reply that has arrived before.
            Route::OwnReplies | Route::Event { .. } | Route::Quarantine { .. } => return,
        };
        let mut seen = lock(&self.seen);
        let seen = &mut *seen;
        for envelope in members.into_iter().flatten().flatten() {
            let id = &envelope.id;
            let messages = seen.messages.entry(id.saga).or_default();
            messages.all += 1;
            messages.healed += u64::from(healed);
            let asked = matches!(envelope.body, Body::Command(_)) && !message.redelivered;
            messages.commands += u64::from(asked);
            let touched = seen.touched.contains(&id.saga);
            match &envelope.body {
                Body::Command(_) => {
                    if message.expiry.is_none() {
                        self.sim.violated(format!("the command {id} never expires (protocol 16)"));
                    }
                    if !touched && !self.begun(seen, id) {
                        let id = short(&id.to_string());
                        self.sim
                            .violated(format!("the command {id} is sent, and no row waits for it"));
                    }
                    if let Some(owed) = seen.owed.get_mut(&id.saga) {
                        owed.remove(&format!("{}/{}", id.step, id.direction));
                    }
                }
                Body::Reply(reply) => {
                    if reply.repeat {
                        seen.repeated.insert(id.clone());
                    }
                    if refused_although_captured(seen, id, reply.outcome) {
                        self.sim.violated(format!("{id} is refused, and the money was taken"));
                    }
                    if !touched && let Some(wrong) = unfounded(seen, id, reply.outcome) {
                        self.sim
                            .violated(format!("the reply to {}: {wrong}", short(&id.to_string())));
                    }
                }
                Body::Event(_) => self.sim.violated("an event among commands or replies"),
            }
        }
    }

    /// Returns whether a saga's committed row says that this command was opened.
    fn begun(&self, seen: &Seen, id: &CommandId) -> bool {
        let Some(saga) = seen.sagas.get(&id.saga) else { return false };
        let definition = self.hosted.get(&saga.definition, saga.definition_version);
        let names = definition.map(|definition| definition.step_names()).unwrap_or_default();
        let step = names.iter().position(|name| *name == id.step);
        match (step.and_then(|step| saga.steps.get(step)), id.direction) {
            (None | Some(StepState::Pending), _) => false,
            (Some(_), Direction::Action) => true,
            (Some(state), Direction::Compensation) => match state {
                StepState::Undoing(_) | StepState::Undone | StepState::Halted { .. } => true,
                StepState::Pending
                | StepState::Open(_)
                | StepState::Done
                | StepState::Refused(_)
                | StepState::Unknown => false,
            },
        }
    }

    /// Notes that the broker moves a message to the quarantine, with all its members. A reply has
    /// its command's id and a row of its own.
    pub(crate) fn given_up(&self, message: &Message) {
        let Ok(members) = parcel::read(&message.body) else {
            return self.poisoned(message.id.clone());
        };
        let ids = members.into_iter().flatten().map(|envelope| match envelope.body {
            Body::Reply(_) => format!("{}/reply", envelope.id),
            Body::Command(_) | Body::Event(_) => envelope.id.to_string(),
        });
        lock(&self.seen).quarantined.extend(ids);
    }

    /// Notes that a stranger sends a message that must end in the quarantine.
    pub(crate) fn poisoned(&self, id: String) {
        lock(&self.seen).quarantined.insert(id);
    }

    /// Returns the ids of the rows that the quarantine must have.
    pub(crate) fn quarantined(&self) -> BTreeSet<String> {
        lock(&self.seen).quarantined.clone()
    }

    /// Reports events that were recorded but never published, and completed sagas that lack events.
    pub(crate) fn unheard(&self) {
        let seen = lock(&self.seen);
        let sound = |saga: SagaId| !seen.touched.contains(&saga);
        for (id, sequence) in seen.answers.iter().filter(|(id, _)| sound(id.saga)) {
            if let Some(sequence) = sequence
                && !seen.events.contains_key(&(id.saga, *sequence))
            {
                self.sim.violated(format!("the event of {id} was never published"));
            }
        }
        let completed = |saga: &&Instance| saga.phase.state() == State::Completed && sound(saga.id);
        for saga in seen.sagas.values().filter(completed) {
            let heard = seen.events.range((saga.id, 0)..=(saga.id, u32::MAX));
            let heard: Vec<u32> = heard.map(|((_, sequence), _)| *sequence).collect();
            let due: Vec<u32> = (1..=saga.steps.len() as u32).collect();
            if heard != due {
                self.sim
                    .violated(format!("saga {} is completed, its events are {heard:?}", saga.id));
            }
        }
    }
}

/// Returns the reason why a reply must not exist, if there is one.
fn unfounded(seen: &Seen, id: &CommandId, outcome: Outcome) -> Option<&'static str> {
    let other = |direction| CommandId { direction, ..id.clone() };
    let told = |id: &CommandId| match seen.answers.get(id) {
        Some(Some(sequence)) => seen.events.contains_key(&(id.saga, *sequence)),
        Some(None) | None => true,
    };
    match outcome {
        Outcome::TooLate => {
            let undone = seen.answers.contains_key(&other(Direction::Compensation));
            // A compensation's intent is recorded, and its answer is still to come.
            (!undone && id.direction == Direction::Compensation).then_some("too late for what?")
        }
        Outcome::Done | Outcome::Refused if !seen.answers.contains_key(id) => {
            Some("its answer is not on record")
        }
        Outcome::Done | Outcome::Refused if !told(id) || !told(&other(Direction::Action)) => {
            Some("its event has not been published")
        }
        Outcome::Done | Outcome::Refused => None,
    }
}
