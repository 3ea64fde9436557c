//! Operators' interventions in sagas, and their outcomes (semantics 26).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Direction, Signed};

/// An operator's intervention in a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervention {
    /// The remedy.
    pub remedy: Remedy,
    /// The version of the saga that the operator has seen. Nothing is done at any other version,
    /// and a repeat at the same version does nothing more.
    pub expected_version: u64,
    /// The operator, and the reason.
    pub signed: Signed,
}

/// A remedy. Participants get only the definition's own commands because of it, under their own
/// ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Every open command is sent now and its bound starts afresh. A halted step's command is sent
    /// again under its id. That helps only once the participant has been put right: a participant
    /// that keeps to the rules repeats a recorded refusal.
    Retry,
    /// The step that the saga is stuck at counts as done, or as undone, without an answer. The
    /// participant is not notified: its data must be put right there. Never the pivot: its outcome
    /// is a fact to be looked up, and then to be stated with [`Remedy::Resolve`].
    Skip,
    /// The operator states the outcome of a command that is open or halted.
    Resolve {
        /// The step.
        step: String,
        /// Its direction.
        direction: Direction,
        /// The outcome.
        outcome: Stated,
    },
    /// The saga is undone. Only before the pivot, as for a client's cancel.
    Compensate,
    /// Answers are recorded, but no new command is sent.
    Pause,
    /// A paused saga goes on.
    Resume,
}

impl Remedy {
    /// Its name, as in histories.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Skip => "skip",
            Self::Resolve { .. } => "resolve",
            Self::Compensate => "compensate",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// The outcome of a command as an operator states it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stated {
    /// The effect happened.
    Done {
        /// The reply as JSON, if and only if the step keeps something of it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reply: Option<String>,
    },
    /// The effect did not happen. For a pivot this is believed. A compensatable step is undone all
    /// the same, because copies of its command may still be on their way.
    Refused,
}

/// The outcome of an intervention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intervened {
    /// It is done.
    Applied,
    /// The same was done before, at the same version.
    Repeated,
    /// The saga has another version than the operator has seen. Nothing was done.
    Moved {
        /// Its version now.
        version: u64,
    },
    /// It is not possible here. Nothing was done.
    Impossible(Obstacle),
}

/// The reason why an intervention is not possible. Its text is a sentence that also says what is
/// possible instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The saga has ended.
    Ended,
    /// It is paused, so nothing can be sent.
    Paused,
    /// It is paused already.
    PausedAlready,
    /// It is not paused.
    NotPaused,
    /// It is not stuck, so no step holds it up.
    NotStuck,
    /// The pivot cannot be skipped.
    Pivot,
    /// The step keeps something of its reply.
    ReplyMissing,
    /// The reply does not decode as the step's.
    ReplyUnreadable,
    /// The step keeps nothing of a reply.
    ReplyUnwanted,
    /// The definition has no step of that name.
    NoSuchStep,
    /// That command of the step is neither open nor halted.
    NotOpen,
    /// The step was given up: it is undone whatever its outcome was.
    GivenUp,
    /// A step after the pivot, and a compensation, cannot be stated as refused.
    NoRefusal,
    /// The pivot is open: it may have happened.
    PivotOpen,
    /// The pivot has happened.
    PivotDone,
    /// It is being undone already.
    UndoneAlready,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "the saga has ended, and an end never changes: what must be undone after it is a saga of its own",
            Self::Paused => "the saga is paused, so nothing can be sent: resume it first",
            Self::PausedAlready => "the saga is paused already: resume it when it may go on",
            Self::NotPaused => "the saga is not paused",
            Self::NotStuck => "the saga is not stuck, so no step holds it up: retry asks now for what is open, resolve states what became of it",
            Self::Pivot => "the pivot cannot be skipped, because everything after it rests on its having happened: look up whether it did, then resolve it as done or as refused",
            Self::ReplyMissing => "later steps need what this step's reply says: resolve it as done, with the reply as JSON",
            Self::ReplyUnreadable => "the reply does not decode as this step's: see its message in the contract",
            Self::ReplyUnwanted => "nothing of this step's reply is kept: resolve it without one",
            Self::NoSuchStep => "the saga's definition has no such step: see its steps",
            Self::NotOpen => "that command of the step is neither open nor halted, so its outcome is not for anybody to state: see the saga's steps",
            Self::GivenUp => "the step was given up and will be undone, whatever became of it: there is nothing to state",
            Self::NoRefusal => "a step after the pivot, or a compensation, cannot end by a refusal: retry it, resolve it as done, or skip it once the saga is stuck at it",
            Self::PivotOpen => "the pivot is open, so it may have happened: wait for its answer, or look it up and resolve it as refused, which undoes the saga",
            Self::PivotDone => "the pivot has happened, so the saga only goes forward: what must be undone is a saga of its own, once this one has ended",
            Self::UndoneAlready => "the saga is being undone already: retry asks now for what is open",
        })
    }
}
