//! Conditions that must hold at every commit and for every message. They do not use the code under
//! test, except to find the time at which a row must wake (`HostedDefinition::need`).
//!
//! A database that forgets its last commits breaks promises about the sagas that they concern. For
//! those sagas some conditions do not hold; `loss.rs` says which ones still do.

mod alerts;
mod arrivals;
mod loss;
mod money;
mod transition;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use rusqlite::Connection;
use saga_core::{
    CommandId, Direction, Happening, Hosted, Instance, SagaId, State, Timestamp, limits,
};
use saga_engine::Write;
use saga_kit::Entry;
use saga_messaging::{Body, Message, parcel};
use serde_json::value::RawValue;

use self::{alerts::Alerts, transition::wrong};
use crate::{
    life::Life,
    plan::{Outage, Plan},
    sim::{Sim, Watch, lock},
    transport::short,
};

/// The most commands that one redelivered reply may publish again: the most that a stage has.
const MOST_OPENED_AT_ONCE: u64 = 2;
/// The most commands and replies of one saga that may arrive after everything was healed.
const MOST_MESSAGES_HEALED: u64 = 150;

/// Watches a run, and reports violations.
#[derive(Debug)]
pub(crate) struct Checks {
    sim: Arc<Sim>,
    hosted: Hosted,
    clock: Watch,
    /// Whether due sagas are woken. If not, only a redelivered message may wake a saga, and still
    /// no saga may remain asleep.
    timers: bool,
    /// Whether the run has a long outage of the provider, and no other long one.
    only_the_provider_is_away: bool,
    seen: Mutex<Seen>,
}

/// Everything that was committed and sent so far.
#[derive(Debug, Default)]
struct Seen {
    sagas: BTreeMap<SagaId, Instance>,
    /// Commands that were opened but have not reached the broker, and that no redelivered message
    /// would publish. Only a wake-up sends them.
    owed: BTreeMap<SagaId, BTreeSet<String>>,
    /// Commands that were answered with a repeat.
    repeated: BTreeSet<CommandId>,
    /// The entries that a service's open transaction has recorded.
    pending: BTreeMap<&'static str, Vec<Entry>>,
    /// Recorded answers, each with the sequence number of its event.
    answers: BTreeMap<CommandId, Option<u32>>,
    events: BTreeMap<(SagaId, u32), Box<RawValue>>,
    alerts: Alerts,
    messages: BTreeMap<SagaId, Messages>,
    /// Ids of the rows that the quarantine must have.
    quarantined: BTreeSet<String>,
    /// The answers that each service has recorded, in order.
    recorded: BTreeMap<&'static str, Vec<CommandId>>,
    /// Sagas that a lost commit concerns.
    touched: BTreeSet<SagaId>,
    /// Sagas whose holds a payment service has intended to ask for.
    intended_hold: BTreeSet<SagaId>,
    /// Sagas whose holds the provider may have been asked for.
    asked_for_hold: BTreeSet<SagaId>,
    /// Actions that a process has told as done although it had found them undone.
    told_after_undo: BTreeSet<CommandId>,
    /// The payments that the provider has captured, by saga.
    captured: BTreeMap<SagaId, String>,
}

/// The numbers of commands and replies of a saga.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Messages {
    /// All commands and replies.
    pub(crate) all: u64,
    /// Commands that orchestrators have published.
    pub(crate) commands: u64,
    /// The most commands that committed turns, redelivered replies and repeated publications
    /// explain.
    pub(crate) explained: u64,
    /// Messages after everything was healed.
    pub(crate) healed: u64,
}

impl Checks {
    /// Watches a run whose sagas are decided by these definitions.
    #[must_use]
    pub(crate) fn new(sim: Arc<Sim>, hosted: Hosted, clock: Watch, plan: &Plan) -> Arc<Self> {
        let only_the_provider_is_away = plan.outage == Some(Outage::Provider);
        let (timers, seen) = (plan.timers, Mutex::default());
        Arc::new(Self { sim, hosted, clock, timers, only_the_provider_is_away, seen })
    }

    /// Checks and remembers sagas that were written.
    pub(crate) fn committed(&self, who: &str, writes: &[Write]) {
        let mut seen = lock(&self.seen);
        for write in writes {
            let before = seen.sagas.get(&write.saga.id);
            if let Some(wrong) = wrong(&self.hosted, before, write) {
                let id = short(&write.saga.id.to_string());
                self.sim.violated(format!("{who} writes saga {id}: {wrong}"));
            }
            if let Some(wrong) = self.stuck_for_nothing(&seen, write) {
                self.sim.violated(wrong);
            }
            let sent: usize = write.history.iter().map(|entry| entry.sent.len()).sum();
            seen.messages.entry(write.saga.id).or_default().explained += sent as u64;
            seen.alerts.committed(write);
            for entry in &write.history {
                let id = |step: &String, direction: &Direction| CommandId {
                    saga: write.saga.id,
                    step: step.clone(),
                    direction: *direction,
                };
                let owed = match &entry.happening {
                    // Clients do not repeat an answered request, so no message comes again.
                    Happening::Started
                    | Happening::Cancel(_)
                    | Happening::Resumed(_)
                    | Happening::Retried(_)
                    | Happening::Skipped { .. }
                    | Happening::Resolved { .. }
                    | Happening::Compensate(_) => true,
                    // A redelivered repeat does not publish anything either (protocol 4).
                    Happening::Done { step, direction }
                    | Happening::Refused { step, direction, .. } => {
                        seen.repeated.contains(&id(step, direction))
                    }
                    // If a wake-up has opened a command, no redelivered message publishes it.
                    Happening::Resent | Happening::GaveUp { .. } | Happening::DeadlinePassed => {
                        true
                    }
                    Happening::Paused(_) | Happening::Reminded => false,
                };
                // A redelivered reply publishes nothing while its saga is paused, and it is then
                // acknowledged. So after a resume, all open commands are owed.
                if matches!(entry.happening, Happening::Resumed(_)) {
                    let open = self.open(&write.saga);
                    seen.owed.entry(write.saga.id).or_default().extend(open);
                }
                if owed {
                    let sent = entry.sent.iter().map(|(command, _)| command.clone());
                    seen.owed.entry(write.saga.id).or_default().extend(sent);
                }
            }
            if loss::returns_touched(&seen, &write.saga) {
                seen.touched.insert(write.saga.id);
            }
            seen.sagas.insert(write.saga.id, write.saga.clone());
        }
    }

    /// Returns the commands that a saga waits for, as step and direction.
    fn open(&self, saga: &Instance) -> Vec<String> {
        let definition = self.hosted.get(&saga.definition, saga.definition_version);
        let open = definition.and_then(|definition| definition.open_commands(saga).ok());
        let open = open.into_iter().flatten();
        open.map(|command| format!("{}/{}", command.id.step, command.id.direction)).collect()
    }

    /// Returns the current time if a saga is due.
    pub(crate) fn anything_due(&self) -> Option<Timestamp> {
        let (now, seen) = (self.clock.now(), lock(&self.seen));
        let ahead = now.plus_millis(limits::AHEAD_MILLIS);
        let due = |saga: &&Instance| saga.wake_at.is_some_and(|at| at <= now || at > ahead);
        let mut due = seen.sagas.values().filter(due).filter(|saga| self.wakes(&seen, saga.id));
        due.next().map(|_| now)
    }

    /// Returns whether a claim may take this saga.
    pub(crate) fn may_wake(&self, saga: SagaId) -> bool {
        self.wakes(&lock(&self.seen), saga)
    }

    fn wakes(&self, seen: &Seen, saga: SagaId) -> bool {
        self.timers || seen.owed.get(&saga).is_some_and(|owed| !owed.is_empty())
    }

    /// Returns the time on the clock of the orchestrators' database.
    pub(crate) fn saga_clock(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns all sagas that have not ended.
    pub(crate) fn in_progress(&self) -> Vec<Instance> {
        let going = |saga: &&Instance| match saga.phase.state() {
            State::Running | State::Compensating | State::Stuck => true,
            State::Completed | State::Compensated => false,
        };
        lock(&self.seen).sagas.values().filter(going).cloned().collect()
    }

    /// Returns all sagas, as they were last written.
    pub(crate) fn sagas(&self) -> Vec<Instance> {
        lock(&self.seen).sagas.values().cloned().collect()
    }

    /// Returns whether a saga has ended.
    pub(crate) fn has_ended(&self, saga: SagaId) -> bool {
        lock(&self.seen).sagas.get(&saga).is_some_and(|saga| saga.ended().is_some())
    }

    /// Returns a saga's version, as an operator sees it.
    pub(crate) fn version(&self, saga: SagaId) -> u64 {
        lock(&self.seen).sagas.get(&saga).map_or(0, |saga| saga.version)
    }

    /// Returns the numbers of commands and replies of each saga.
    pub(crate) fn messages(&self) -> BTreeMap<SagaId, Messages> {
        lock(&self.seen).messages.clone()
    }

    /// Notes that a service's transaction begins.
    pub(crate) fn began(&self, service: &'static str) {
        lock(&self.seen).pending.insert(service, Vec::new());
    }

    /// Notes the answers that a service's open transaction records.
    pub(crate) fn recorded(&self, service: &'static str, entries: &[Entry]) {
        lock(&self.seen).pending.entry(service).or_default().extend_from_slice(entries);
    }

    /// Checks a service that is about to commit.
    pub(crate) fn service_commits(&self, life: &Life, service: &'static str, tx: &Connection) {
        if service == "inventory"
            && let Some(wrong) = unbalanced(tx)
        {
            self.sim
                .violated(format!("{} commits: the stock of {wrong} does not balance", life.name));
        }
    }

    /// Notes that a service has committed.
    pub(crate) fn service_committed(&self, life: &Life, service: &'static str) {
        let mut seen = lock(&self.seen);
        for entry in seen.pending.remove(&service).unwrap_or_default() {
            let Entry { key, direction, answer, .. } = entry;
            let id = CommandId { saga: key.saga, step: key.step, direction };
            let Some(answer) = answer else {
                life.say(|| format!("intends {}", short(&id.to_string())));
                seen.intends(&id);
                continue;
            };
            life.say(|| {
                format!("records {} {:?}", short(&id.to_string()), answer.outcome).to_lowercase()
            });
            let event = answer.event.map(|event| event.sequence);
            if seen.answers.insert(id.clone(), event).is_some() {
                self.sim.violated(format!("{} answers {id} a second time", life.name));
            }
            seen.recorded.entry(service).or_default().push(id);
        }
    }

    /// Returns the number of alerts that were due, and how many of them were never published.
    pub(crate) fn alerts(&self) -> (usize, usize) {
        lock(&self.seen).alerts.due()
    }

    /// Notes that a command has reached the broker, although its publisher was told that it may not
    /// have. The publisher publishes it again.
    pub(crate) fn published_in_doubt(&self, message: &Message) {
        self.explain(message, 1, |body| matches!(body, Body::Command(_)));
    }

    /// Notes that replies are delivered again.
    pub(crate) fn delivered_again(&self, message: &Message) {
        self.explain(message, MOST_OPENED_AT_ONCE, |body| matches!(body, Body::Reply(_)));
    }

    /// Notes that a turn has failed. Its replies are decided on again, as if they were delivered
    /// again (protocol 2).
    pub(crate) fn turn_failed(&self, sagas: &[SagaId]) {
        let mut seen = lock(&self.seen);
        for saga in sagas {
            seen.messages.entry(*saga).or_default().explained += MOST_OPENED_AT_ONCE;
        }
    }

    fn explain(&self, message: &Message, commands: u64, concerns: impl Fn(&Body) -> bool) {
        let mut seen = lock(&self.seen);
        let members = parcel::read(&message.body).unwrap_or_default();
        for member in members.into_iter().flatten().filter(|member| concerns(&member.body)) {
            seen.messages.entry(member.id.saga).or_default().explained += commands;
        }
    }

    /// Reports sagas with more messages than the faults explain.
    pub(crate) fn flooded(&self) {
        let seen = lock(&self.seen);
        for (saga, messages) in
            seen.messages.iter().filter(|(saga, _)| !seen.touched.contains(saga))
        {
            let Messages { commands, explained, healed, .. } = messages;
            if commands > explained || *healed > MOST_MESSAGES_HEALED {
                self.sim.violated(format!(
                    "saga {saga} had {commands} commands, of which {explained} are explained, and {healed} messages after everything was healed"
                ));
            }
        }
    }
}

/// Returns a product whose stock levels do not add up (semantics 23), if there is one.
fn unbalanced(tx: &Connection) -> Option<String> {
    let asked = tx.prepare_cached(
        "SELECT sku FROM products
         WHERE received <> available + reserved + sold OR min(received, available, reserved, sold) < 0",
    );
    asked.and_then(|mut asked| asked.query_row([], |row| row.get(0))).ok()
}
