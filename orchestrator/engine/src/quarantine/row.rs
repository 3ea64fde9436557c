//! Messages of the quarantine as operators see them, and the changes that a store makes to them.

use saga_core::{CommandId, Instance, Signed, Timestamp, Watermark};

use crate::Write;

/// A message in the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The command's id; for a reply, the same id with `/reply`; for a message without a command,
    /// the message's own id or a hash of its body.
    pub id: String,
    /// Counts the copies that came and the operators' acts.
    pub version: u64,
    /// Its state.
    pub state: QuarantineState,
    /// The reason why it is here.
    pub reason: String,
    /// The queue that it came from.
    pub from: String,
    /// The address for its answer.
    pub reply_to: Option<String>,
    /// The original body. It may hold a secret. Empty in a list.
    pub body: Vec<u8>,
    /// Arrival of the first copy.
    pub first_seen: Timestamp,
    /// Arrival of the last copy.
    pub last_seen: Timestamp,
    /// Number of copies that came.
    pub copies: u64,
    /// The operators' acts, in order. Empty in a list.
    pub acts: Vec<Act>,
}

impl Quarantined {
    /// The command that it is, or answers, if it names one.
    #[must_use]
    pub fn command(&self) -> Option<CommandId> {
        command_of(&self.id)
    }
}

/// The command that a message of this id is, or answers.
pub(crate) fn command_of(id: &str) -> Option<CommandId> {
    id.strip_suffix("/reply").unwrap_or(id).parse().ok()
}

/// The state of a message in the quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuarantineState {
    /// Nobody has dealt with it.
    Open,
    /// Its command was sent again.
    Redriven,
    /// It is kept for the record only.
    Discarded,
}

impl QuarantineState {
    /// Its code in the store.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Open => 1,
            Self::Redriven => 2,
            Self::Discarded => 3,
        }
    }

    /// The state of a code.
    #[must_use]
    pub const fn from_code(code: i16) -> Option<Self> {
        match code {
            1 => Some(Self::Open),
            2 => Some(Self::Redriven),
            3 => Some(Self::Discarded),
            _ => None,
        }
    }
}

/// An operator's act on a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The message's version that it led to.
    pub version: u64,
    /// Time of the act, on the store's clock.
    pub at: Timestamp,
    /// The state that it led to.
    pub state: QuarantineState,
    /// The operator, and the reason.
    pub signed: Signed,
    /// The commands that were sent because of it: `book-hotel/action #1`.
    pub sent: Vec<String>,
}

/// A filter of messages to show.
#[derive(Clone, Debug, Default)]
pub struct QuarantineFilter {
    /// Only this one, with its body and the acts.
    pub id: Option<String>,
    /// Only those of this saga.
    pub saga: Option<saga_core::SagaId>,
    /// Only those from a queue whose name contains this.
    pub from: Option<String>,
    /// Only those whose reason contains this.
    pub reason: Option<String>,
    /// Only those in this state.
    pub state: Option<QuarantineState>,
    /// Only those whose first copy came at least this long ago, by the store's clock, in
    /// milliseconds.
    pub older_than_millis: Option<u64>,
    /// Only those that follow this one in a list with the newest first. It is given by the arrival
    /// of its first copy and its id.
    pub after: Option<(Timestamp, String)>,
    /// At most this many.
    pub limit: usize,
}

/// A locked message, and its saga's locked row.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The store's clock.
    pub now: Timestamp,
    /// Sagas below it have ended long ago.
    pub watermark: Watermark,
    /// The message, if it exists; without the acts.
    pub message: Option<Quarantined>,
    /// The saga that was asked for, if it exists.
    pub saga: Option<Instance>,
}

/// The change of a message, and of its saga in the same transaction.
#[derive(Clone, Debug)]
pub struct Handled {
    /// The new state of the message.
    pub state: QuarantineState,
    /// The operator, and the reason.
    pub signed: Signed,
    /// The commands that are sent because of it.
    pub sent: Vec<String>,
    /// The saga's turn, if it makes one.
    pub write: Option<Write>,
}
