//! Tells a saga what its participants have on record, by the functions that decide on every reply.
//!
//! Pure: the caller reads the records, and writes what was decided under the saga's row lock.

use std::{collections::BTreeMap, time::Duration};

use saga_audit::{Half, Record};
use saga_core::{
    Direction, HistoryEntry, HostedDefinition, Input, Instance, Intervened, Intervention, Obstacle,
    Phase, Remedy, Reply, ReplyOutcome, Signed, StateError, Stated, StepState, Timestamp, Verdict,
    Wish,
};
use saga_kit::Recorded;
use saga_messaging::Outcome;

/// Whose word the histories give for what was decided here.
pub(super) const BY: &str = "saga reconcile";

/// What is known of a saga besides its row.
pub(super) struct Known<'a> {
    /// What participants have on record, by step.
    pub(super) records: &'a BTreeMap<String, Record>,
    /// True if the orchestrator's database had forgotten the saga, which was begun again.
    pub(super) begun_again: bool,
    /// The client's cancel, if the order service has heard of one.
    pub(super) cancelled: Option<Wish>,
    /// Replies that can be told from what participants keep, for steps whose own record is gone.
    pub(super) replies: BTreeMap<&'static str, String>,
}

/// Why a saga cannot be told what is on record.
#[derive(Debug, thiserror::Error)]
pub(super) enum Deaf {
    /// The row or an answer does not decode.
    #[error("it cannot be decided on: {0}")]
    Undecidable(#[from] StateError),
    /// A recorded answer is not one.
    #[error("the recorded answer to {0} cannot be read")]
    Unreadable(String),
}

/// Lets a saga catch up with its participants. Returns the saga, and the transitions.
///
/// A saga that is being undone by its participants' records is undone here too. So is one that was
/// begun again, unless its pivot may have happened: its client may have asked anew under a key that
/// is forgotten, and money that was not taken yet need not be.
pub(super) fn catch_up(
    definition: &dyn HostedDefinition,
    saga: Instance,
    known: &Known<'_>,
    now: Timestamp,
) -> Result<(Instance, Vec<HistoryEntry>), Deaf> {
    let mut telling = Telling { definition, known, now, saga, history: Vec::new() };
    telling.tell()?;
    Ok((telling.saga, telling.history))
}

/// Returns the steps that wait for an answer which nobody has on record, although later steps were
/// reached. They are to be asked before the saga can be told more.
pub(super) fn gaps(
    definition: &dyn HostedDefinition,
    saga: &Instance,
    records: &BTreeMap<String, Record>,
) -> Vec<&'static str> {
    let names = definition.step_names();
    let come = |step: &str| records.get(step).is_some_and(|record| record.action != Half::None);
    let gap = |(step, state): (usize, &StepState)| {
        let waits = matches!(state, StepState::Open(_)) && !come(names[step]);
        (waits && names[step + 1..].iter().any(|later| come(later))).then_some(names[step])
    };
    saga.steps.iter().enumerate().filter_map(gap).collect()
}

struct Telling<'a> {
    definition: &'a dyn HostedDefinition,
    known: &'a Known<'a>,
    now: Timestamp,
    saga: Instance,
    history: Vec<HistoryEntry>,
}

impl Telling<'_> {
    fn tell(&mut self) -> Result<(), Deaf> {
        let names = self.definition.step_names();
        let pivot = self.definition.pivot().unwrap_or(names.len());
        let decided = names.iter().skip(pivot).any(|step| self.has_come(step));
        let undone = |record: &Record| record.compensation != Half::None;
        let undone = self.known.records.values().any(undone);
        let back = !decided && (undone || self.known.begun_again);
        // What was answered in time is told as of then, and not undone because it is late now.
        let late = !decided && self.saga.deadline <= self.now;
        self.now = self.now.min(self.saga.deadline.minus(Duration::from_millis(1)));
        for step in 0..names.len() {
            if !matches!(self.saga.steps.get(step), Some(StepState::Open(_))) {
                continue;
            }
            let before = (self.saga.clone(), self.history.len());
            if step == pivot
                && let Some(wish) = &self.known.cancelled
            {
                // The pivot's refusal then counts as the cancel that was waiting for it.
                self.decide(&Input::Cancel(wish.clone()))?;
            }
            self.tell_of(&names, step)?;
            let opened = matches!(self.saga.steps.get(pivot), Some(StepState::Open(_)));
            let refused = self.saga.phase != Phase::Running;
            if (back || late) && opened || back && refused && self.known.cancelled.is_some() {
                // This saga goes back, or will once it wakes, and not because of this answer. So
                // the answer counts as one that has not come.
                self.saga = before.0;
                self.history.truncate(before.1);
                break;
            }
        }
        if back && self.saga.phase == Phase::Running {
            let undo = match &self.known.cancelled {
                Some(wish) => Input::Cancel(wish.clone()),
                None => self.remedy(Remedy::Compensate),
            };
            self.decide(&undo)?;
        }
        for step in (0..names.len()).rev() {
            if let Some(StepState::Undoing(_)) = self.saga.steps.get(step)
                && let Some(Half::Answered(answer)) =
                    self.known.records.get(names[step]).map(|record| &record.compensation)
            {
                let reply = answered(names[step], Direction::Compensation, answer)?;
                self.decide(&reply)?;
            }
        }
        Ok(())
    }

    /// Tells the saga what became of the action of an open step, if that is on record.
    fn tell_of(&mut self, names: &[&'static str], step: usize) -> Result<(), Deaf> {
        let name = names[step];
        let record = self.known.records.get(name).cloned().unwrap_or_default();
        match (record.action, record.compensation) {
            (Half::Answered(answer), _) => {
                self.decide(&answered(name, Direction::Action, &answer)?)?;
            }
            // As the participant would answer.
            (Half::None | Half::Begun, Half::Begun | Half::Answered(_)) => {
                self.decide(&reply(name, Direction::Action, ReplyOutcome::TooLate))?;
            }
            // A saga that was begun again cannot send this command as it was. But a later stage
            // was reached, so it was done.
            (Half::None | Half::Begun, Half::None)
                if self.known.begun_again && names[step + 1..].iter().any(|s| self.has_come(s)) =>
            {
                self.state_done(name)?;
            }
            (Half::None | Half::Begun, Half::None) => {}
        }
        Ok(())
    }

    fn state_done(&mut self, step: &'static str) -> Result<(), Deaf> {
        let known = self.known.replies.get(step).cloned();
        let done = |reply| Remedy::Resolve {
            step: step.to_owned(),
            direction: Direction::Action,
            outcome: Stated::Done { reply },
        };
        let verdict = self.decide(&self.remedy(done(None)))?;
        if verdict == Verdict::Intervention(Intervened::Impossible(Obstacle::ReplyMissing)) {
            let reply = known.unwrap_or_else(|| "{}".to_owned());
            self.decide(&self.remedy(done(Some(reply))))?;
        }
        Ok(())
    }

    fn has_come(&self, step: &str) -> bool {
        self.known.records.get(step).is_some_and(|record| record.action != Half::None)
    }

    fn remedy(&self, remedy: Remedy) -> Input {
        let reason = "a database went back: this is what its neighbours have on record".to_owned();
        let signed = Signed { by: BY.to_owned(), reason };
        Input::Intervene(Intervention { remedy, expected_version: self.saga.version, signed })
    }

    fn decide(&mut self, input: &Input) -> Result<Verdict, Deaf> {
        let decision = self.definition.turn(&self.saga, input, self.now)?;
        if let Some(next) = decision.saga {
            self.saga = next;
        }
        self.history.extend(decision.history);
        Ok(decision.verdict)
    }
}

/// Makes the reply that the participant would send again.
fn answered(step: &str, direction: Direction, answer: &str) -> Result<Input, Deaf> {
    let unreadable = |_| Deaf::Unreadable(step.to_owned());
    let Recorded { outcome, type_name, data, .. } =
        serde_json::from_str(answer).map_err(unreadable)?;
    let outcome = match outcome {
        Outcome::Done => ReplyOutcome::Done { type_name, data },
        Outcome::Refused => {
            ReplyOutcome::Refused(serde_json::from_str(data.get()).map_err(unreadable)?)
        }
        Outcome::TooLate => ReplyOutcome::TooLate,
    };
    Ok(reply(step, direction, outcome))
}

fn reply(step: &str, direction: Direction, outcome: ReplyOutcome) -> Input {
    Input::Reply(Reply {
        step: step.to_owned(),
        direction,
        outcome,
        redelivered: false,
        repeat: true,
    })
}

#[cfg(test)]
mod tests;
