//! Commands to participants, their answers, and domain events.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::CommandId;

/// Names a message by its full protobuf name, as in the CloudEvents attribute `type`.
pub trait TypeName {
    /// For example `trip.v1.BookHotel`.
    const TYPE: &'static str;
}

/// A command. Its type determines which participant gets it and which type its reply has.
pub trait Command: TypeName + Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The participant that runs the command; also the routing key of that participant's queue.
    const PARTICIPANT: &'static str;
    /// The message in a reply with the outcome *done*. Its `Default` answers a compensation that
    /// found nothing to undo.
    type Reply: TypeName + Serialize + DeserializeOwned + Default + Send + Sync + 'static;
}

/// A domain event, for any consumer that subscribes to it.
pub trait DomainEvent: TypeName + Serialize {
    /// Routing key on the topic exchange, for example `hotel.booked`.
    const KEY: &'static str;
}

/// A participant's answer to a command.
///
/// A failure ("the database is down") is not an answer: the command is run again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<R> {
    /// The command's effect happened.
    Done(R),
    /// The command's effect provably did not happen, and never will under this command's id.
    Refused(Refusal),
}

/// The reason why a participant refused a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// A stable code for programs, in capitals: `NO_ROOM`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl Refusal {
    /// Makes a refusal from its code and its sentence.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }

    /// Returns the refusal with its texts cut to the length that a saga's row may carry.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        for text in [&mut self.code, &mut self.message] {
            let end = text.floor_char_boundary(crate::limits::MAX_REFUSAL_TEXT_BYTES);
            text.truncate(end);
        }
        self
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// A command with its type erased: the content of an envelope.
#[derive(Clone)]
pub struct Payload {
    /// Full protobuf name of the command's message.
    pub type_name: &'static str,
    /// The participant that runs the command.
    pub participant: &'static str,
    /// The message as canonical JSON.
    pub data: Box<RawValue>,
}

impl Payload {
    /// Encodes a command.
    ///
    /// # Panics
    /// If the message cannot be JSON, which generated messages always can.
    pub fn of<C: Command>(command: &C) -> Self {
        Self {
            type_name: C::TYPE,
            participant: C::PARTICIPANT,
            data: serde_json::value::to_raw_value(command).expect("a protobuf message is JSON"),
        }
    }
}

impl fmt::Debug for Payload {
    /// Leaves the data out, because it may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payload").field("type_name", &self.type_name).finish_non_exhaustive()
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.type_name == other.type_name && self.data.get() == other.data.get()
    }
}

/// A command as the orchestrator hands it to the transport.
#[derive(Clone, Debug, PartialEq)]
pub struct OutgoingCommand {
    /// The command's id. It is derived, so it is the same for every attempt.
    pub id: CommandId,
    /// The command's type, participant and data.
    pub payload: Payload,
    /// The number of this attempt to send the command, from 1.
    pub attempt: u32,
    /// Time for which a copy of the command may stay in its queue, in milliseconds (protocol 16).
    pub expiry_millis: u64,
    /// Position of the command's event among the saga's events: actions in their order, then
    /// compensations (semantics 28).
    pub sequence: u32,
    /// Name of the saga's definition.
    pub definition: &'static str,
    /// Version of that definition.
    pub definition_version: u32,
    /// W3C trace context of the call that began the saga.
    pub traceparent: Option<String>,
}
