//! Inputs to a saga, and decisions on them.

use serde_json::value::RawValue;

use crate::{
    Direction, HistoryEntry, Instance, Intervened, Intervention, OutgoingCommand, Refusal, Wish,
};

/// An input to a saga.
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
    /// The direction of its command.
    pub direction: Direction,
    /// The answer.
    pub outcome: ReplyOutcome,
    /// The broker has delivered it before, or may have.
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

/// The verdict on an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It moved the saga, or changed its `wake_at`.
    Applied,
    /// It was known already.
    Duplicate,
    /// It came after the saga had given its step up, or had ended.
    Late,
    /// It answers a command that this saga never sent.
    Foreign,
    /// Nothing was due.
    Nothing,
    /// The verdict on a cancel.
    Cancel(Cancelled),
    /// The verdict on an operator's intervention.
    Intervention(Intervened),
}

/// The verdict on a cancel.
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

/// The decision of a turn.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The saga's next state. `None` means that there is nothing to write.
    pub saga: Option<Instance>,
    /// The transition, if there was one. Without one, a next state differs only in its `wake_at`.
    pub history: Option<HistoryEntry>,
    /// The commands to publish once the state is committed.
    pub send: Vec<OutgoingCommand>,
    /// The verdict on the input.
    pub verdict: Verdict,
    /// True if an alert is to be raised: the saga got stuck, or a reminder that it still is is due.
    pub alert: bool,
}

/// The data that admission adds to a saga's own.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The caller.
    pub caller: String,
    /// Time for forward work before the pivot, in milliseconds.
    pub deadline_millis: u64,
    /// W3C trace context of the call.
    pub traceparent: Option<String>,
}

impl Decision {
    pub(crate) fn nothing(verdict: Verdict) -> Self {
        Self { saga: None, history: None, send: Vec::new(), verdict, alert: false }
    }
}
