//! What an operator sees in the quarantine, and what a store is told to make of it.

use saga_core::{CommandId, Instance, Signed, Timestamp, Watermark};

use crate::Write;

/// A message in the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The command's id, the same with `/reply` for a reply to it, or whatever a
    /// message without either is told by.
    pub id: String,
    /// Counts what happened to it: each copy, and each operator's act.
    pub version: u64,
    /// Where it stands.
    pub state: QuarantineState,
    /// Why it is here.
    pub reason: String,
    /// The queue that it came from.
    pub from: String,
    /// Where its sender wants the answer.
    pub reply_to: Option<String>,
    /// The original body. It may hold a secret. Empty in a list.
    pub body: Vec<u8>,
    /// When the first copy came.
    pub first_seen: Timestamp,
    /// When the last one did.
    pub last_seen: Timestamp,
    /// How many came.
    pub copies: u64,
    /// What operators did to it, in order. Empty in a list.
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

/// Where a message in the quarantine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuarantineState {
    /// Nobody has dealt with it.
    Open,
    /// What it stands for was sent again.
    Redriven,
    /// It is kept for the record only.
    Discarded,
}

impl QuarantineState {
    /// As it stands in the store.
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

/// What an operator did to a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The message's version that it led to.
    pub version: u64,
    /// When, on the store's clock.
    pub at: Timestamp,
    /// The state that it led to.
    pub state: QuarantineState,
    /// Who, and why.
    pub signed: Signed,
    /// The commands that were sent because of it: `book-hotel/action #1`.
    pub sent: Vec<String>,
}

/// Which messages to show.
#[derive(Clone, Debug, Default)]
pub struct QuarantineFilter {
    /// Only this one, with its body and what was done to it.
    pub id: Option<String>,
    /// Only those of this saga.
    pub saga: Option<saga_core::SagaId>,
    /// Only those from a queue whose name contains this.
    pub from: Option<String>,
    /// Only those whose reason contains this.
    pub reason: Option<String>,
    /// Only those that stand here.
    pub state: Option<QuarantineState>,
    /// Only those whose first copy came so long ago, by the store's clock, in milliseconds.
    pub older_than_millis: Option<u64>,
    /// Only those that stand after this one, when the newest stand first: when its
    /// first copy came, and its id.
    pub after: Option<(Timestamp, String)>,
    /// At most so many.
    pub limit: usize,
}

/// A message under its lock, and its saga's row under its own.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// The store's clock.
    pub now: Timestamp,
    /// How far back sagas matter.
    pub watermark: Watermark,
    /// The message, if it is there; without what was done to it.
    pub message: Option<Quarantined>,
    /// The saga that was asked for, if it is there.
    pub saga: Option<Instance>,
}

/// What becomes of a message, and of its saga in the same transaction.
#[derive(Clone, Debug)]
pub struct Handled {
    /// Where the message stands from now on.
    pub state: QuarantineState,
    /// Who, and why.
    pub signed: Signed,
    /// What is sent because of it.
    pub sent: Vec<String>,
    /// The saga's turn, if it makes one.
    pub write: Option<Write>,
}
