//! What comes to a saga, and what is decided.

use serde_json::value::RawValue;

use crate::{
    Direction, HistoryEntry, Instance, Intervened, Intervention, OutgoingCommand, Refusal, Wish,
};

/// What comes to a saga.
#[derive(Clone, Debug)]
pub enum Input {
    /// A participant's reply.
    Reply(Reply),
    /// Its `wake_at` has passed.
    Wake,
    /// The client cancels it.
    Cancel(Wish),
    /// An operator steps in.
    Intervene(Intervention),
}

/// A participant's reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The step that it answers.
    pub step: String,
    /// That step's direction.
    pub direction: Direction,
    /// The answer.
    pub outcome: ReplyOutcome,
    /// The broker delivered it before, or may have.
    pub redelivered: bool,
    /// The participant marked it as a repeat of a recorded answer.
    pub repeat: bool,
}

/// The answer in a reply.
#[derive(Clone, Debug)]
pub enum ReplyOutcome {
    /// The effect happened.
    Done {
        /// Full protobuf name of the reply.
        type_name: String,
        /// The reply, as JSON.
        data: Box<RawValue>,
    },
    /// The effect did not happen and will not.
    Refused(Refusal),
    /// The action came after its compensation.
    TooLate,
}

/// What became of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It moved the saga, or changed when to look at it again.
    Applied,
    /// It was known already.
    Duplicate,
    /// It came after the saga had given its step up, or had ended.
    Late,
    /// It answers nothing that this saga ever asked.
    Foreign,
    /// Nothing was due.
    Nothing,
    /// What became of a cancel.
    Cancel(Cancelled),
    /// What became of an operator's intervention.
    Intervention(Intervened),
}

/// What became of a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The saga is being undone because of it, or was.
    Accepted,
    /// The pivot is open: its answer decides.
    Recorded,
    /// The pivot has happened.
    TooLate,
    /// The saga is being undone for another reason, or was.
    AlreadyUndone,
}

/// What a turn decided.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The saga's next state. `None`: nothing to write.
    pub saga: Option<Instance>,
    /// The transition, where there was one. Its absence beside a next state
    /// means that only `wake_at` moved.
    pub history: Option<HistoryEntry>,
    /// What to publish once the state is committed.
    pub send: Vec<OutgoingCommand>,
    /// What became of the input.
    pub verdict: Verdict,
    /// Whether the saga got stuck, or still is and must be heard again.
    pub alert: bool,
}

/// What admission adds to a saga's data.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Who asks.
    pub caller: String,
    /// How long forward work may take, in milliseconds.
    pub deadline_millis: u64,
    /// W3C trace context of the call.
    pub traceparent: Option<String>,
}

impl Decision {
    pub(crate) fn nothing(verdict: Verdict) -> Self {
        Self { saga: None, history: None, send: Vec::new(), verdict, alert: false }
    }
}
