//! The state of one saga, as its row keeps it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Cause, Direction, Intervention, Refusal, SagaId, Signed, Stuck, Timestamp, Wish};

/// One saga. The commands that it waits for, and so those that are due to be sent, are derived from
/// this alone: the row is the outbox.
#[derive(Clone)]
pub struct Instance {
    /// Its id.
    pub id: SagaId,
    /// Name of the definition that it runs under.
    pub definition: String,
    /// Version of that definition; it never changes.
    pub definition_version: u32,
    /// Counts the transitions, from 1.
    pub version: u64,
    /// The caller who began it.
    pub caller: String,
    /// Its phase.
    pub phase: Phase,
    /// The state of each step, in the definition's order.
    pub steps: Vec<StepState>,
    /// The saga's own data, as JSON.
    pub data: Box<RawValue>,
    /// Time of its admission.
    pub started_at: Timestamp,
    /// Time at which forward work before the pivot stops (semantics 18).
    pub deadline: Timestamp,
    /// A cancel that came while the pivot was open (semantics 17).
    pub cancel: Option<Wish>,
    /// An operator's pause: answers are recorded, nothing new is sent.
    pub paused: Option<Signed>,
    /// The operators' last intervention, so that a repeat of it does nothing.
    pub intervention: Option<Intervention>,
    /// Time at which to look at it next. It may be earlier than needed, never later.
    pub wake_at: Option<Timestamp>,
    /// W3C trace context of the call that began it.
    pub traceparent: Option<String>,
}

impl fmt::Debug for Instance {
    /// Leaves the data out: it may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("id", &self.id)
            .field("definition", &self.definition)
            .field("version", &self.version)
            .field("phase", &self.phase)
            .field("steps", &self.steps)
            .field("wake_at", &self.wake_at)
            .finish_non_exhaustive()
    }
}

/// The phase of a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Going forward.
    Running,
    /// It is being undone, for this cause.
    Compensating(Cause),
    /// Ended: every step is done.
    Completed,
    /// Ended: everything is undone, for this cause.
    Compensated(Cause),
    /// It needs a person. This is not an end.
    Stuck(Stuck),
}

/// A saga's state, as tables and metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Going forward.
    Running,
    /// Being undone.
    Compensating,
    /// Ended: every step is done.
    Completed,
    /// Ended: everything is undone.
    Compensated,
    /// Needs a person.
    Stuck,
}

impl State {
    /// All of them, in the order of their codes.
    pub const ALL: [Self; 5] =
        [Self::Running, Self::Compensating, Self::Completed, Self::Compensated, Self::Stuck];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Stuck => "stuck",
        }
    }

    /// Its code in tables, from 1.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Running => 1,
            Self::Compensating => 2,
            Self::Completed => 3,
            Self::Compensated => 4,
            Self::Stuck => 5,
        }
    }

    /// The state of a code.
    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// The two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every step is done.
    Completed,
    /// Everything is undone.
    Compensated,
}

impl Phase {
    /// The end, if this is one.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        match self {
            Self::Completed => Some(Ended::Completed),
            Self::Compensated(_) => Some(Ended::Compensated),
            Self::Running | Self::Compensating(_) | Self::Stuck(_) => None,
        }
    }

    /// The phase without its data.
    #[must_use]
    pub fn state(&self) -> State {
        match self {
            Self::Running => State::Running,
            Self::Compensating(_) => State::Compensating,
            Self::Completed => State::Completed,
            Self::Compensated(_) => State::Compensated,
            Self::Stuck(_) => State::Stuck,
        }
    }

    /// The state's name, as in tables and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.state().name()
    }

    /// The cause for which the saga is being, or was, undone.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Compensating(cause) | Self::Compensated(cause) => Some(cause),
            Self::Stuck(stuck) => stuck.unwinding.as_ref(),
            Self::Running | Self::Completed => None,
        }
    }
}

/// The state of one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Its action was sent; the answer is awaited.
    Open(Sending),
    /// Its action happened.
    Done,
    /// Its action provably did not happen, and will not.
    Refused(Refusal),
    /// Its action was given up without an answer; it will be compensated.
    Unknown,
    /// Its compensation was sent; the answer is awaited.
    Undoing(Sending),
    /// Its compensation happened.
    Undone,
    /// A command was refused that must not be: a retriable action, or a compensation.
    Halted {
        /// The direction of the command.
        direction: Direction,
        /// The participant's refusal.
        refusal: Refusal,
    },
}

/// A command whose answer is awaited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Number of times that it was sent.
    pub attempts: u32,
    /// Time at which to send it again.
    pub due_at: Timestamp,
    /// The input that opened it (protocol 4).
    pub opened_by: Opener,
}

/// The input that opened a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opener {
    /// Admission, a time-out, or a person.
    Own,
    /// The reply to a step's command.
    Reply {
        /// Index of that step.
        step: usize,
        /// Its direction.
        direction: Direction,
    },
}

/// One transition, for the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The saga's version that it led to.
    pub version: u64,
    /// Its time, on the saga database's clock.
    pub at: Timestamp,
    /// The event itself.
    pub happening: Happening,
    /// The commands that were sent because of it: `book-hotel/action`, with the attempt.
    pub sent: Vec<(String, u32)>,
    /// The state that it led to.
    pub state: State,
}

/// Something that happened to a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Happening {
    /// It was admitted.
    Started,
    /// A step's action or compensation was done.
    Done {
        /// The step.
        step: String,
        /// Its direction.
        direction: Direction,
    },
    /// A step's action or compensation was refused.
    Refused {
        /// The step.
        step: String,
        /// Its direction.
        direction: Direction,
        /// The participant's refusal.
        refusal: Refusal,
    },
    /// Commands were sent again, because their answers were late.
    Resent,
    /// Steps were given up.
    GaveUp {
        /// The steps that were given up or exceeded their bound.
        steps: Vec<String>,
    },
    /// The saga's deadline passed before the pivot.
    DeadlinePassed,
    /// A cancel was asked for.
    Cancel(Wish),
    /// An operator paused it.
    Paused(Signed),
    /// An operator let it go on.
    Resumed(Signed),
    /// An operator had every open or halted command sent now, with a new bound.
    Retried(Signed),
    /// An operator skipped the step that it was stuck at: it counts as done, or as undone.
    Skipped {
        /// The step.
        step: String,
        /// Its direction.
        direction: Direction,
        /// The operator, and the reason.
        #[serde(flatten)]
        signed: Signed,
    },
    /// An operator stated the outcome of a command.
    Resolved {
        /// The step.
        step: String,
        /// Its direction.
        direction: Direction,
        /// True if it happened; otherwise it was refused.
        done: bool,
        /// The operator, and the reason.
        #[serde(flatten)]
        signed: Signed,
    },
    /// An operator decided to undo it.
    Compensate(Signed),
    /// It is still stuck: the alert was raised again.
    Reminded,
}

/// The error for a row that this binary cannot decide on. Leave it alone and notify an operator.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The saga's data does not decode as its definition's.
    #[error("the data of saga {id} does not decode: {source}")]
    Data {
        /// The saga.
        id: SagaId,
        /// The error of serde.
        source: serde_json::Error,
    },
    /// The row has another number of steps than its definition.
    #[error("saga {id} has {found} steps, its definition {expected}")]
    Steps {
        /// The saga.
        id: SagaId,
        /// Number in the row.
        found: usize,
        /// Number in the definition.
        expected: usize,
    },
    /// A reply that does not decode: the reply is poison, the saga is sound.
    #[error("the reply to {step} of saga {id} does not decode: {source}")]
    Reply {
        /// The saga.
        id: SagaId,
        /// The step that it answers.
        step: String,
        /// The error of serde.
        source: serde_json::Error,
    },
}

impl Instance {
    /// The end, if it has come.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.phase.ended()
    }
}
