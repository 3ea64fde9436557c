//! The messages of the quarantine as operators see them, and the changes that a store makes to
//! them.

use saga_core::{CommandId, Instance, Signed, Timestamp, Watermark};

use crate::Write;

/// A message in the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The command's id; for a reply, that id with `/reply`; for a message without a command, its
    /// own message id or a hash of its body.
    pub id: String,
    /// Number of copies that came plus number of operators' acts.
    pub version: u64,
    /// The message's state.
    pub state: QuarantineState,
    /// The reason why the message could not be handled.
    pub reason: String,
    /// The queue that the message came from.
    pub from: String,
    /// The address to which its answer would be sent.
    pub reply_to: Option<String>,
    /// The message's original body. It may hold a secret. Lists leave it empty.
    pub body: Vec<u8>,
    /// Time at which the first copy arrived.
    pub first_seen: Timestamp,
    /// Time at which the last copy arrived.
    pub last_seen: Timestamp,
    /// Number of copies that arrived.
    pub copies: u64,
    /// The operators' acts, in order. Lists leave them empty.
    pub acts: Vec<Act>,
}

impl Quarantined {
    /// Returns the id of the command that the message is or answers, if it names one.
    #[must_use]
    pub fn command(&self) -> Option<CommandId> {
        command_of(&self.id)
    }
}

/// Returns the id of the command that a message with this id is or answers.
pub(crate) fn command_of(id: &str) -> Option<CommandId> {
    id.strip_suffix("/reply").unwrap_or(id).parse().ok()
}

/// The state of a message in the quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuarantineState {
    /// No operator has handled the message.
    Open,
    /// An operator re-drove the message: its saga sent the command again.
    Redriven,
    /// An operator discarded the message: it is kept only as a record.
    Discarded,
}

impl QuarantineState {
    /// Returns the state's code in the store.
    #[must_use]
    pub const fn code(self) -> i16 {
        match self {
            Self::Open => 1,
            Self::Redriven => 2,
            Self::Discarded => 3,
        }
    }

    /// Returns the state that has this code.
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
    /// The message's version after the act.
    pub version: u64,
    /// Time of the act, on the store's clock.
    pub at: Timestamp,
    /// The message's state after the act.
    pub state: QuarantineState,
    /// The operator's name and reason.
    pub signed: Signed,
    /// The commands that were sent because of the act: `book-hotel/action #1`.
    pub sent: Vec<String>,
}

/// A filter for the quarantine's messages.
#[derive(Clone, Debug, Default)]
pub struct QuarantineFilter {
    /// Only the message with this id, with its body and acts.
    pub id: Option<String>,
    /// Only messages of this saga.
    pub saga: Option<saga_core::SagaId>,
    /// Only messages from a queue whose name contains this text.
    pub from: Option<String>,
    /// Only messages whose reason contains this text.
    pub reason: Option<String>,
    /// Only messages in this state.
    pub state: Option<QuarantineState>,
    /// Only messages whose first copy came at least this many milliseconds ago, by the store's
    /// clock.
    pub older_than_millis: Option<u64>,
    /// Only messages that follow this one in a list that has the newest first. The message is given
    /// by the arrival of its first copy and by its id.
    pub after: Option<(Timestamp, String)>,
    /// Largest number of messages to return.
    pub limit: usize,
}

/// A locked message, and the locked row of its saga.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The time on the store's clock.
    pub now: Timestamp,
    /// The stored watermark. Sagas below it have ended long ago.
    pub watermark: Watermark,
    /// The message without its acts, if it exists.
    pub message: Option<Quarantined>,
    /// The row of the saga that was given, if it exists.
    pub saga: Option<Instance>,
}

/// The change of a message, with its saga's turn in the same transaction.
#[derive(Clone, Debug)]
pub struct Handled {
    /// The message's new state.
    pub state: QuarantineState,
    /// The operator's name and reason.
    pub signed: Signed,
    /// The commands that are sent because of the act.
    pub sent: Vec<String>,
    /// The saga's write, if the saga makes a turn.
    pub write: Option<Write>,
}
