//! Asks participants again for what they have forgotten. Each command is derived from its saga's
//! row, as it was when it was sent first, and has the same id (semantics 2). A participant that has
//! it on record repeats its answer; the saga takes no notice of an answer that it has.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    time::{Duration, Instant},
};

use saga_audit::{Lost, LostHow};
use saga_core::{
    Direction, Failure, Hosted, Instance, Opener, OutgoingCommand, SagaId, Sending, StepState,
    Timestamp,
};
use saga_engine::SagaReads;
use saga_messaging::{Envelope, Publication, Route, Transport};

use super::rebuild::lacks_its_token;

/// The `source` attribute of the commands.
const SOURCE: &str = "saga/reconcile";
/// The order in which sagas are done again: a return needs its order.
const ORDER: [&str; 2] = ["place-order", "return-order"];
/// Pause before a command is sent again. By then, the last copy has expired.
const ASK_AGAIN: Duration = Duration::from_secs(4);
/// Number of times that a command is sent before its participant counts as silent.
const MOST_ASKED: u32 = 8;
/// Number of sagas that are read at once.
const PAGE: usize = 500;

/// Saga, step and direction.
type Key = (String, String, String);

/// What was asked so far.
#[derive(Default)]
pub(super) struct Asking {
    asked: HashMap<Key, (u32, Instant)>,
    /// Commands that cannot be derived any more, because their saga's row does not decode.
    impossible: BTreeSet<Key>,
    /// Commands that cannot be derived any more, because their saga has forgotten a token.
    tokenless: BTreeSet<Key>,
    /// Sagas that an operator has paused. They send nothing.
    paused: BTreeSet<String>,
}

impl Asking {
    /// Returns the commands to send now. Of each saga that is the first one only, as the next one
    /// may rest on it; and none of a return before all orders are done.
    pub(super) async fn round(
        &mut self,
        store: &impl SagaReads,
        hosted: &Hosted,
        lost: &[Lost],
    ) -> Result<Vec<OutgoingCommand>, Failure> {
        let mut sagas: BTreeMap<SagaId, Vec<&Lost>> = BTreeMap::new();
        for one in lost.iter().filter(|one| one.how == LostHow::Forgotten) {
            if let Ok(id) = one.saga.parse() {
                sagas.entry(id).or_default().push(one);
            }
        }
        let ids: Vec<SagaId> = sagas.keys().copied().collect();
        let mut found: BTreeMap<SagaId, Instance> = BTreeMap::new();
        for page in ids.chunks(PAGE) {
            let sagas = match store.find(page).await {
                // No row of the page decodes.
                Err(Failure::Permanent(_)) => Vec::new(),
                sagas => sagas?,
            };
            found.extend(sagas.into_iter().map(|saga| (saga.id, saga)));
        }
        self.paused.extend(found.values().filter_map(|saga| {
            let paused = saga.paused.is_some();
            paused.then(|| saga.id.to_string())
        }));
        found.retain(|_, saga| saga.paused.is_none());
        let mut commands = Vec::new();
        for definition in ORDER {
            let mut open = false;
            for (id, saga) in &found {
                let Some(lost) = sagas.get(id).filter(|lost| lost[0].definition == definition)
                else {
                    continue;
                };
                let next = lost.iter().find(|one| !self.is_impossible(hosted, saga, one));
                let Some(next) = next else { continue };
                open |= !self.is_silent(next);
                commands.extend(self.ask(hosted, saga, next));
            }
            if open {
                break;
            }
        }
        Ok(commands)
    }

    /// Returns true if the answer to a command may still come.
    pub(super) fn waits(&self, lost: &[Lost]) -> bool {
        let waits = |one: &Lost| {
            one.how == LostHow::Forgotten
                && self.asked.contains_key(&key(one))
                && !self.is_silent(one)
        };
        lost.iter().any(waits)
    }

    /// Returns true if the command cannot be derived, because its saga's row does not decode here.
    pub(super) fn cannot_ask(&self, lost: &Lost) -> bool {
        self.impossible.contains(&key(lost))
    }

    /// Returns true if the command cannot be derived, because its saga has forgotten the token.
    pub(super) fn lacks_its_token(&self, lost: &Lost) -> bool {
        self.tokenless.contains(&key(lost))
    }

    /// Returns true if the command is not asked for, because its saga is paused.
    pub(super) fn is_paused(&self, lost: &Lost) -> bool {
        self.paused.contains(&lost.saga)
    }

    fn is_silent(&self, lost: &Lost) -> bool {
        self.asked
            .get(&key(lost))
            .is_some_and(|(times, last)| *times >= MOST_ASKED && last.elapsed() > ASK_AGAIN)
    }

    fn is_impossible(&mut self, hosted: &Hosted, saga: &Instance, lost: &Lost) -> bool {
        let action = lost.direction == Direction::Action.as_str();
        if action && lacks_its_token(&lost.step, &saga.data) {
            self.tokenless.insert(key(lost));
        } else if derive(hosted, saga, lost).is_none() {
            self.impossible.insert(key(lost));
        } else {
            return false;
        }
        true
    }

    fn ask(&mut self, hosted: &Hosted, saga: &Instance, lost: &Lost) -> Option<OutgoingCommand> {
        let (times, last) = self.asked.get(&key(lost)).copied().unzip();
        let times = times.unwrap_or_default();
        if times >= MOST_ASKED || last.is_some_and(|last| last.elapsed() < ASK_AGAIN) {
            return None;
        }
        self.asked.insert(key(lost), (times + 1, Instant::now()));
        derive(hosted, saga, lost)
    }
}

fn key(lost: &Lost) -> Key {
    (lost.saga.clone(), lost.step.clone(), lost.direction.clone())
}

/// Derives a command as if it were open.
fn derive(hosted: &Hosted, saga: &Instance, lost: &Lost) -> Option<OutgoingCommand> {
    let definition = hosted.get(&saga.definition, saga.definition_version)?;
    let step = definition.step_names().into_iter().position(|name| name == lost.step)?;
    let sending = Sending { attempts: 1, due_at: saga.started_at, opened_by: Opener::Own };
    let direction = if lost.direction == Direction::Compensation.as_str() {
        Direction::Compensation
    } else {
        Direction::Action
    };
    let mut asked = saga.clone();
    *asked.steps.get_mut(step)? = match direction {
        Direction::Action => StepState::Open(sending),
        Direction::Compensation => StepState::Undoing(sending),
    };
    let open = definition.open_commands(&asked).ok()?;
    open.into_iter()
        .find(|command| command.id.step == lost.step && command.id.direction == direction)
}

/// Sends commands, in parcels, as an engine does.
pub(super) async fn publish(transport: &impl Transport, commands: Vec<OutgoingCommand>) {
    let mut by_participant: BTreeMap<&'static str, (Vec<Envelope>, Vec<u64>)> = BTreeMap::new();
    for command in commands {
        let (envelopes, expiries) = by_participant.entry(command.payload.participant).or_default();
        expiries.push(command.expiry_millis);
        envelopes.push(Envelope::command(command, SOURCE, Timestamp(0)));
    }
    let mut publication = Publication::of(transport, Vec::new());
    for (participant, (envelopes, expiries)) in by_participant {
        let route = Route::Command { participant: participant.to_owned() };
        let expiry =
            |range: Range<usize>| expiries[range].iter().min().copied().map(Duration::from_millis);
        publication.parcels(&route, &envelopes, expiry);
    }
    // What no queue takes is asked again: its answer stays lost.
    publication.publish().await;
}
