//! The state of one saga, as it is stored in its row.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Cause, Direction, Intervention, Refusal, SagaId, Signed, Stuck, Timestamp, Wish};

/// One saga. The commands that it waits for, and so the commands to send again, are derived from
/// these fields alone: the row is the outbox.
#[derive(Clone)]
pub struct Instance {
    /// The saga's id.
    pub id: SagaId,
    /// Name of the saga's definition.
    pub definition: String,
    /// Version of that definition. It never changes.
    pub definition_version: u32,
    /// Number of the saga's transitions.
    pub version: u64,
    /// The caller who began the saga.
    pub caller: String,
    /// The saga's phase.
    pub phase: Phase,
    /// The state of each step, in the definition's order.
    pub steps: Vec<StepState>,
    /// The saga's own data, as JSON.
    pub data: Box<RawValue>,
    /// Time at which the saga was admitted.
    pub started_at: Timestamp,
    /// Time at which the saga is undone, unless its pivot is open by then (semantics 18).
    pub deadline: Timestamp,
    /// The client's cancel, if there was one. It waits while the pivot is open (semantics 17).
    pub cancel: Option<Wish>,
    /// An operator's pause: answers are recorded, but nothing new is sent.
    pub paused: Option<Signed>,
    /// The last intervention of an operator, so that a repeat of it does nothing.
    pub intervention: Option<Intervention>,
    /// Time at which to look at the saga next. It may be earlier than needed, but never later.
    pub wake_at: Option<Timestamp>,
    /// W3C trace context of the call that began the saga.
    pub traceparent: Option<String>,
}

impl fmt::Debug for Instance {
    /// Leaves the data out, because it may hold a secret.
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
    /// The saga is going forward.
    Running,
    /// The saga is being undone, for this cause.
    Compensating(Cause),
    /// The saga has ended: every step is done.
    Completed,
    /// The saga has ended: everything is undone, for this cause.
    Compensated(Cause),
    /// The saga waits for a person. It has not ended.
    Stuck(Stuck),
}

/// A saga's phase without its data, as tables and metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The saga is going forward.
    Running,
    /// The saga is being undone.
    Compensating,
    /// The saga has ended: every step is done.
    Completed,
    /// The saga has ended: everything is undone.
    Compensated,
    /// The saga waits for a person.
    Stuck,
}

impl State {
    /// All states, in the order of their codes.
    pub const ALL: [Self; 5] =
        [Self::Running, Self::Compensating, Self::Completed, Self::Compensated, Self::Stuck];

    /// Returns the state's name.
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

    /// Returns the state's code in tables, from 1.
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

    /// Returns the state that has this code.
    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.code() == code)
    }
}

/// The two ways in which a saga can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every step is done.
    Completed,
    /// Everything is undone.
    Compensated,
}

impl Phase {
    /// Returns how the saga ended, if it has ended.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        match self {
            Self::Completed => Some(Ended::Completed),
            Self::Compensated(_) => Some(Ended::Compensated),
            Self::Running | Self::Compensating(_) | Self::Stuck(_) => None,
        }
    }

    /// Returns the phase without its data.
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

    /// Returns the name of the state, as in tables and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.state().name()
    }

    /// Returns the cause for which the saga is being undone, or was.
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
    /// The step has not begun.
    Pending,
    /// The step's action was sent and waits for its answer.
    Open(Sending),
    /// The step's action happened.
    Done,
    /// The step's action provably did not happen, and will not.
    Refused(Refusal),
    /// The step's action was given up without an answer. It will be compensated.
    Unknown,
    /// The step's compensation was sent and waits for its answer.
    Undoing(Sending),
    /// The step's compensation happened.
    Undone,
    /// A participant refused a retriable action or a compensation, which it must not refuse.
    Halted {
        /// The direction of the refused command.
        direction: Direction,
        /// The participant's refusal.
        refusal: Refusal,
    },
}

/// An open command: it was sent and waits for its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Number of times that the command was sent.
    pub attempts: u32,
    /// Time at which to send the command again.
    pub due_at: Timestamp,
    /// The input that opened the command (rule 4 of docs/protocol.md).
    pub opened_by: Opener,
}

/// The input that opened a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opener {
    /// Admission, a passed `wake_at`, or a person.
    Own,
    /// The reply to a step's command.
    Reply {
        /// Index of that step.
        step: usize,
        /// Direction of that command.
        direction: Direction,
    },
}

/// One transition of a saga, as the history keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The saga's version after the transition.
    pub version: u64,
    /// Time of the transition, on the saga database's clock.
    pub at: Timestamp,
    /// The event that caused the transition.
    pub happening: Happening,
    /// The commands that the transition sent: `book-hotel/action`, with the attempt.
    pub sent: Vec<(String, u32)>,
    /// The saga's state after the transition.
    pub state: State,
}

/// An event in a saga's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Happening {
    /// The saga was admitted.
    Started,
    /// A step's action or compensation was done.
    Done {
        /// The step.
        step: String,
        /// The direction of the step's command.
        direction: Direction,
    },
    /// A step's action or compensation was refused.
    Refused {
        /// The step.
        step: String,
        /// The direction of the step's command.
        direction: Direction,
        /// The participant's refusal.
        refusal: Refusal,
    },
    /// Commands were sent again, because their answers were late.
    Resent,
    /// Steps exceeded the attempts of their retry policy.
    GaveUp {
        /// The names of those steps.
        steps: Vec<String>,
    },
    /// The saga's deadline passed before the pivot.
    DeadlinePassed,
    /// A client asked to cancel the saga.
    Cancel(Wish),
    /// An operator paused the saga.
    Paused(Signed),
    /// An operator resumed the saga.
    Resumed(Signed),
    /// An operator had every open or halted command sent now, and its attempts counted anew.
    Retried(Signed),
    /// An operator skipped the step at which the saga was stuck: it counts as done, or as undone.
    Skipped {
        /// The step.
        step: String,
        /// The direction of the step's command.
        direction: Direction,
        /// The operator's name and reason.
        #[serde(flatten)]
        signed: Signed,
    },
    /// An operator stated the outcome of a command.
    Resolved {
        /// The step.
        step: String,
        /// The direction of the step's command.
        direction: Direction,
        /// True if the command's effect happened; false if it was refused.
        done: bool,
        /// The operator's name and reason.
        #[serde(flatten)]
        signed: Signed,
    },
    /// An operator decided to undo the saga.
    Compensate(Signed),
    /// The saga is still stuck, and its alert was raised again.
    Reminded,
}

/// The error for a row or a reply that does not decode. Nothing is decided: notify an operator.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The saga's data does not decode as the data of its definition.
    #[error("the data of saga {id} does not decode: {source}")]
    Data {
        /// The saga.
        id: SagaId,
        /// The error of serde.
        source: serde_json::Error,
    },
    /// The row has a different number of steps than its definition.
    #[error("saga {id} has {found} steps, its definition {expected}")]
    Steps {
        /// The saga.
        id: SagaId,
        /// Number of steps in the row.
        found: usize,
        /// Number of steps in the definition.
        expected: usize,
    },
    /// The reply does not decode. The reply is poison; the saga's row is sound.
    #[error("the reply to {step} of saga {id} does not decode: {source}")]
    Reply {
        /// The saga.
        id: SagaId,
        /// The step that the reply answers.
        step: String,
        /// The error of serde.
        source: serde_json::Error,
    },
}

impl Instance {
    /// Returns how the saga ended, if it has ended.
    #[must_use]
    pub fn ended(&self) -> Option<Ended> {
        self.phase.ended()
    }
}
