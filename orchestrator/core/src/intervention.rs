//! Operators' interventions in sagas, and their outcomes (semantics 26).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Direction, Signed};

/// An operator's intervention in a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intervention {
    /// The remedy to apply.
    pub remedy: Remedy,
    /// The version of the saga that the operator has seen. Nothing is done if the saga has another
    /// version. A repeat with the same version does nothing more.
    pub expected_version: u64,
    /// The operator's name and reason.
    pub signed: Signed,
}

/// A remedy that an operator applies to a saga. It sends participants only commands of the saga's
/// definition, under those commands' usual ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Sends every open command now and counts its attempts anew. Sends a halted step's command
    /// again, under its id. That helps only after the participant was repaired: a correct
    /// participant repeats its recorded refusal.
    Retry,
    /// Counts the step at which the saga is stuck as done, or as undone, without an answer. The
    /// participant is not notified: its data must be corrected there. The pivot cannot be skipped.
    /// Look up its outcome and state it with [`Remedy::Resolve`] instead.
    Skip,
    /// States the outcome of a command that is open or halted.
    Resolve {
        /// The step that the command belongs to.
        step: String,
        /// The direction of the command.
        direction: Direction,
        /// The outcome that the operator states.
        outcome: Stated,
    },
    /// Undoes the saga. Possible only before the pivot, like a client's cancel.
    Compensate,
    /// Pauses the saga: answers are recorded, but no new command is sent.
    Pause,
    /// Lets a paused saga go on.
    Resume,
}

impl Remedy {
    /// Returns the remedy's name, as in histories.
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
    /// The command's effect happened.
    Done {
        /// The reply as JSON, if and only if the step keeps a part of it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        reply: Option<String>,
    },
    /// The command's effect did not happen. A pivot then counts as refused. A compensatable step is
    /// undone all the same, because copies of its command may still arrive.
    Refused,
}

/// The outcome of an intervention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intervened {
    /// The intervention was applied.
    Applied,
    /// The same intervention was applied before, at the same version.
    Repeated,
    /// The saga has a different version than the operator has seen. Nothing was done.
    Moved {
        /// The saga's version now.
        version: u64,
    },
    /// The intervention is not possible. Nothing was done.
    Impossible(Obstacle),
}

/// The reason why an intervention is not possible. Its text is a sentence that also suggests an
/// alternative, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The saga has ended.
    Ended,
    /// The saga is paused, so nothing can be sent.
    Paused,
    /// The saga is paused already.
    PausedAlready,
    /// The saga is not paused.
    NotPaused,
    /// The saga is not stuck, so there is no step to skip.
    NotStuck,
    /// The pivot cannot be skipped.
    Pivot,
    /// The step keeps a part of its reply, and no reply was given.
    ReplyMissing,
    /// The given reply does not decode as the step's reply.
    ReplyUnreadable,
    /// The step keeps no part of its reply, but a reply was given.
    ReplyUnwanted,
    /// The definition has no step of that name.
    NoSuchStep,
    /// The step's command in that direction is neither open nor halted.
    NotOpen,
    /// The step was given up: it is undone whatever its outcome was.
    GivenUp,
    /// A step after the pivot, or a compensation, cannot be resolved as refused.
    NoRefusal,
    /// The pivot is open, so it may have happened.
    PivotOpen,
    /// The pivot has happened.
    PivotDone,
    /// The saga is being undone already.
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
