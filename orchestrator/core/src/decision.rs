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
    /// The saga's `wake_at` has passed.
    Wake,
    /// The client cancels the saga.
    Cancel(Wish),
    /// An operator intervenes in the saga.
    Intervene(Intervention),
}

/// A participant's reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The step that the reply answers.
    pub step: String,
    /// The direction of the command that the reply answers.
    pub direction: Direction,
    /// The participant's answer.
    pub outcome: ReplyOutcome,
    /// True if the broker has delivered the reply before, or may have.
    pub redelivered: bool,
    /// True if the participant marked the reply as a repeat of a recorded answer.
    pub repeat: bool,
}

/// The answer in a reply.
#[derive(Clone, Debug)]
pub enum ReplyOutcome {
    /// The command's effect happened.
    Done {
        /// Full protobuf name of the reply.
        type_name: String,
        /// The reply, as JSON.
        data: Box<RawValue>,
    },
    /// The command's effect did not happen and will not.
    Refused(Refusal),
    /// The action came after its compensation, and was not run.
    TooLate,
}

/// The verdict on an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The input moved the saga, or changed its `wake_at`.
    Applied,
    /// The reply answers a command whose answer is recorded already.
    Duplicate,
    /// The reply came after the saga had given its step up, or had ended.
    Late,
    /// The reply answers a command that this saga never sent.
    Foreign,
    /// The reply says that the pivot happened, but it counts as refused, because an operator has
    /// stated so. Nobody undoes it.
    Contradicts,
    /// The saga was woken, and nothing was due.
    Nothing,
    /// The verdict on a cancel.
    Cancel(Cancelled),
    /// The verdict on an operator's intervention.
    Intervention(Intervened),
}

/// The verdict on a cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The saga is being undone because of a cancel, or was.
    Accepted,
    /// The pivot is open: its answer will decide whether the saga is undone.
    Recorded,
    /// The pivot has happened, so the saga cannot be undone.
    TooLate,
    /// The saga is being undone for another reason, or was.
    AlreadyUndone,
}

/// The decision of a turn.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The saga's next state. `None` means that there is nothing to write.
    pub saga: Option<Instance>,
    /// The transition, if there was one. Without one, only the saga's `wake_at` can change.
    pub history: Option<HistoryEntry>,
    /// The commands to publish once the state is committed.
    pub send: Vec<OutgoingCommand>,
    /// The verdict on the input.
    pub verdict: Verdict,
    /// True if an alert must be raised: the saga got stuck, or a reminder of a stuck saga is due.
    pub alert: bool,
}

/// The data that admission adds to the data of the saga itself.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The caller who began the saga.
    pub caller: String,
    /// Time limit for opening the saga's pivot, in milliseconds. After it the saga is undone.
    pub deadline_millis: u64,
    /// W3C trace context of the call that began the saga.
    pub traceparent: Option<String>,
}

impl Decision {
    pub(crate) fn nothing(verdict: Verdict) -> Self {
        Self { saga: None, history: None, send: Vec::new(), verdict, alert: false }
    }
}
