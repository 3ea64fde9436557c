//! Conditions that must hold at every commit and for every message. They do not use the code under
//! test, except to find the time at which a row must wake (`HostedDefinition::need`).

mod alerts;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use rusqlite::Connection;
use saga_core::{
    CommandId, Direction, Happening, Hosted, Instance, SagaId, State, StepState, Timestamp, limits,
};
use saga_engine::Write;
use saga_kit::Entry;
use saga_messaging::{Body, Envelope, Message, Outcome, Route, parcel};
use serde_json::value::RawValue;

use self::alerts::Alerts;
use crate::{
    life::Life,
    sim::{Sim, Watch, lock},
    transport::short,
};

/// The most commands that orchestrators may publish for one saga; without a fault there are 6.
/// Replies have no such limit, because each redelivered command is answered again.
const MOST_COMMANDS: u64 = 150;
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
    /// Members of messages that were redelivered too often.
    given_up: BTreeSet<(CommandId, bool)>,
}

/// The numbers of commands and replies of a saga.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Messages {
    /// All commands and replies.
    pub(crate) all: u64,
    /// Commands that orchestrators have published.
    pub(crate) commands: u64,
    /// Messages after everything was healed.
    pub(crate) healed: u64,
}

impl Checks {
    /// Watches a run whose sagas are decided by these definitions.
    #[must_use]
    pub(crate) fn new(sim: Arc<Sim>, hosted: Hosted, clock: Watch, timers: bool) -> Arc<Self> {
        Arc::new(Self { sim, hosted, clock, timers, seen: Mutex::default() })
    }

    /// Checks and remembers sagas that were written.
    pub(crate) fn committed(&self, who: &str, writes: &[Write]) {
        let mut seen = lock(&self.seen);
        for write in writes {
            let before = seen.sagas.get(&write.saga.id);
            if let Some(wrong) = self.wrong(before, write) {
                let id = short(&write.saga.id.to_string());
                self.sim.violated(format!("{who} writes saga {id}: {wrong}"));
            }
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

    /// Returns the rule that a write breaks, if any.
    fn wrong(&self, before: Option<&Instance>, write: &Write) -> Option<String> {
        let Write { before: version, saga, history } = write;
        let known = before.map_or(0, |before| before.version);
        if *version != known {
            return Some(format!("it rests on version {version}, the row has {known}"));
        }
        let versions: Vec<u64> = history.iter().map(|entry| entry.version).collect();
        let due: Vec<u64> = (known + 1..=saga.version).collect();
        if versions != due {
            return Some(format!("versions {versions:?} in its history instead of {due:?}"));
        }
        let mut state = before.map(|before| before.phase.state());
        for entry in history {
            if !may(state, entry.state) {
                return Some(format!("it goes from {state:?} to {:?}", entry.state));
            }
            state = Some(entry.state);
        }
        if state != Some(saga.phase.state()) {
            return Some(format!("its history ends in {state:?}, it is {}", saga.phase.name()));
        }
        let definition = self.hosted.get(&saga.definition, saga.definition_version);
        let Some(definition) = definition else {
            return Some("nobody hosts its definition".to_owned());
        };
        // A row must wake no later than it needs to (protocol 5).
        match (saga.wake_at, definition.need(saga)) {
            (_, None) => None,
            (Some(at), Some(need)) if at <= need => None,
            (at, Some(need)) => {
                let at = at.map(|at| at.0 - need.0);
                Some(format!("it wakes {at:?} µs after it needs to (rule wake_at <= need)"))
            }
        }
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
                continue;
            };
            life.say(|| {
                format!("records {} {:?}", short(&id.to_string()), answer.outcome).to_lowercase()
            });
            let event = answer.event.map(|event| event.sequence);
            if seen.answers.insert(id.clone(), event).is_some() {
                self.sim.violated(format!("{} answers {id} a second time", life.name));
            }
        }
    }

    /// Checks an event that has reached the broker.
    pub(crate) fn event_arrived(&self, message: &Message) {
        let Ok(raw) = serde_json::from_slice::<Box<RawValue>>(&message.body) else {
            return self.sim.violated(format!("the event {} is no JSON", message.id));
        };
        if message.route == (Route::Event { key: "saga.stuck".to_owned() }) {
            let wrong = lock(&self.seen).alerts.arrived(message, raw);
            return wrong.into_iter().for_each(|wrong| self.sim.violated(wrong));
        }
        let Ok(Envelope { id, body: Body::Event(event), data, .. }) = Envelope::read(&raw) else {
            return self.sim.violated(format!("the event {} is none", message.id));
        };
        let mut seen = lock(&self.seen);
        if seen.answers.get(&id) != Some(&Some(event.sequence)) {
            self.sim.violated(format!("an event of {id}, whose answer is not on record"));
        }
        let known = seen.events.entry((id.saga, event.sequence)).or_insert_with(|| data.clone());
        if known.get() != data.get() {
            self.sim.violated(format!("two different events {} of {}", event.sequence, id.saga));
        }
    }

    /// Returns the number of alerts that were due, and how many of them were never published.
    pub(crate) fn alerts(&self) -> (usize, usize) {
        lock(&self.seen).alerts.due()
    }

    /// Checks a message that has reached the broker.
    pub(crate) fn message_arrived(&self, message: &Message) {
        let healed = self.sim.healed();
        let members = match &message.route {
            Route::Command { .. } | Route::Reply { .. } | Route::OwnReplies => {
                parcel::read(&message.body)
            }
            Route::Event { .. } | Route::Quarantine { .. } => return,
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
            match &envelope.body {
                Body::Command(_) => {
                    if !self.begun(seen, id) {
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
                    if let Some(wrong) = unfounded(seen, id, reply.outcome) {
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
        let members = parcel::read(&message.body).unwrap_or_default();
        let ids = members.into_iter().flatten().map(|envelope| {
            let is_reply = matches!(envelope.body, Body::Reply(_));
            (envelope.id, is_reply)
        });
        lock(&self.seen).given_up.extend(ids);
    }

    /// Returns the number of rows that the quarantine must have.
    pub(crate) fn quarantined(&self) -> usize {
        lock(&self.seen).given_up.len()
    }

    /// Reports sagas with too many messages.
    pub(crate) fn flooded(&self) {
        for (saga, messages) in &lock(&self.seen).messages {
            let Messages { commands, healed, .. } = messages;
            if *commands > MOST_COMMANDS || *healed > MOST_MESSAGES_HEALED {
                self.sim.violated(format!(
                    "saga {saga} had {commands} commands, and {healed} messages after everything was healed"
                ));
            }
        }
    }

    /// Reports events that were recorded but never published, and completed sagas that lack events.
    pub(crate) fn unheard(&self) {
        let seen = lock(&self.seen);
        for (id, sequence) in &seen.answers {
            if let Some(sequence) = sequence
                && !seen.events.contains_key(&(id.saga, *sequence))
            {
                self.sim.violated(format!("the event of {id} was never published"));
            }
        }
        for saga in seen.sagas.values().filter(|saga| saga.phase.state() == State::Completed) {
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

/// Returns whether a saga may go from one state to the other.
fn may(from: Option<State>, to: State) -> bool {
    use State::{Compensated, Compensating, Completed, Running, Stuck};
    match from {
        None => to == Running,
        Some(Running | Stuck) => true,
        Some(Compensating) => matches!(to, Compensating | Compensated | Stuck),
        Some(Completed | Compensated) => false,
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
