//! One saga's state, as its row keeps it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Cause, Direction, Intervention, Refusal, SagaId, Signed, Stuck, Timestamp, Wish};

/// One saga. What it waits for, and so what is due to be sent, is derived from
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
    /// Who asked for it.
    pub caller: String,
    /// Where it stands.
    pub phase: Phase,
    /// Where each step stands, in the definition's order.
    pub steps: Vec<StepState>,
    /// The saga's own data, as JSON.
    pub data: Box<RawValue>,
    /// When it was admitted.
    pub started_at: Timestamp,
    /// Forward work before the pivot stops here (semantics 18).
    pub deadline: Timestamp,
    /// A cancel that came while the pivot was open (semantics 17).
    pub cancel: Option<Wish>,
    /// An operator's pause: answers are recorded, nothing new is sent.
    pub paused: Option<Signed>,
    /// What an operator did last, so that asking once more does it only once.
    pub intervention: Option<Intervention>,
    /// When to look again at the latest. May be earlier than needed, never later.
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

/// Where a saga stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Going forward.
    Running,
    /// Being undone, and why.
    Compensating(Cause),
    /// Ended: every step is done.
    Completed,
    /// Ended: everything is undone, and why.
    Compensated(Cause),
    /// Needs a person. Not an end.
    Stuck(Stuck),
}

/// A saga's state, as in tables, metrics and talk.
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

    /// The phase without what it carries.
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

    /// The state's name, as in tables, metrics and talk.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.state().name()
    }

    /// Why the saga is being, or was, undone.
    #[must_use]
    pub fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Compensating(cause) | Self::Compensated(cause) => Some(cause),
            Self::Stuck(stuck) => stuck.unwinding.as_ref(),
            Self::Running | Self::Completed => None,
        }
    }
}

/// Where one step stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Its action was asked for; the answer is awaited.
    Open(Sending),
    /// Its action happened.
    Done,
    /// Its action provably did not happen, and will not.
    Refused(Refusal),
    /// Its action was given up without an answer; it is to be compensated.
    Unknown,
    /// Its compensation was asked for; the answer is awaited.
    Undoing(Sending),
    /// Its compensation happened.
    Undone,
    /// Refused where no refusal is allowed: a retriable action, or a compensation.
    Halted {
        /// Which of the two.
        direction: Direction,
        /// What the participant said.
        refusal: Refusal,
    },
}

/// A command whose answer is awaited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// How often it was sent.
    pub attempts: u32,
    /// When to send it again.
    pub due_at: Timestamp,
    /// Whose reply opened it (protocol 4).
    pub opened_by: Opener,
}

/// What opened a command.
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
    /// When, on the saga database's clock.
    pub at: Timestamp,
    /// What happened.
    pub happening: Happening,
    /// The commands that were sent because of it: `book-hotel/action`, with the attempt.
    pub sent: Vec<(String, u32)>,
    /// The state that it led to.
    pub state: State,
}

/// What can happen to a saga.
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
        /// What the participant said.
        refusal: Refusal,
    },
    /// Answers were late, so commands were sent again.
    Resent,
    /// An answer was given up.
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
    /// An operator had all that is open or halted asked for now, with a new bound.
    Retried(Signed),
    /// An operator had the step that it was stuck at count as done, or as undone.
    Skipped {
        /// The step.
        step: String,
        /// Its direction.
        direction: Direction,
        /// Who, and why.
        #[serde(flatten)]
        signed: Signed,
    },
    /// An operator stated what became of a command.
    Resolved {
        /// The step.
        step: String,
        /// Its direction.
        direction: Direction,
        /// Whether it happened; otherwise it was refused.
        done: bool,
        /// Who, and why.
        #[serde(flatten)]
        signed: Signed,
    },
    /// An operator had it undone.
    Compensate(Signed),
    /// It is still stuck: the alert was raised again.
    Reminded,
}

/// A row that this binary cannot decide on. Leave it alone and tell an operator.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The saga's data does not decode as its definition's.
    #[error("the data of saga {id} does not decode: {source}")]
    Data {
        /// The saga.
        id: SagaId,
        /// What serde said.
        source: serde_json::Error,
    },
    /// The row has another number of steps than its definition.
    #[error("saga {id} has {found} steps, its definition {expected}")]
    Steps {
        /// The saga.
        id: SagaId,
        /// In the row.
        found: usize,
        /// In the definition.
        expected: usize,
    },
    /// A reply that does not decode: the reply is poison, the saga is sound.
    #[error("the reply to {step} of saga {id} does not decode: {source}")]
    Reply {
        /// The saga.
        id: SagaId,
        /// The step that it answers.
        step: String,
        /// What serde said.
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
