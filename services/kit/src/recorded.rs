//! Recorded answers: a command gets the same answer each time that it comes.

use saga_core::{Answer, Command, Refusal, Timestamp, TypeName};
use saga_messaging::{Envelope, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Event;

/// An answer as it is stored, with the event that belongs to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recorded {
    /// Done or refused.
    pub outcome: Outcome,
    /// Full protobuf name of the message in `data`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The reply message or the refusal, as JSON.
    pub data: Box<RawValue>,
    /// Time of the transaction that recorded the answer.
    pub at: Timestamp,
    /// The domain event that is published with the answer, if there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event: Option<RecordedEvent>,
}

/// A domain event as it is stored. It must be published before the reply, and again before the
/// event of the compensation (protocol 10).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RecordedEvent {
    /// Full protobuf name of the event.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Routing key on the topic exchange.
    pub key: String,
    /// Position of the event among the saga's events.
    pub sequence: u32,
    /// The event, as JSON.
    pub data: Box<RawValue>,
}

impl Recorded {
    /// Makes the record of a handler's answer to a command, with the event that belongs to it and
    /// the event's position among the saga's events.
    #[must_use]
    pub fn of<C: Command>(
        answer: &Answer<C::Reply>,
        event: Option<Event>,
        sequence: u32,
        at: Timestamp,
    ) -> Self {
        let recorded = match answer {
            Answer::Done(reply) => Self::done(<C::Reply as TypeName>::TYPE, encode(reply), at),
            Answer::Refused(refusal) => Self::refused(refusal, at),
        };
        recorded.with_event(event, sequence)
    }

    /// Records that the command's effect happened.
    #[must_use]
    pub fn done(type_name: &str, data: Box<RawValue>, at: Timestamp) -> Self {
        Self { outcome: Outcome::Done, type_name: type_name.to_owned(), data, at, event: None }
    }

    /// Records that the command's effect did not happen and will not.
    #[must_use]
    pub fn refused(refusal: &Refusal, at: Timestamp) -> Self {
        let (type_name, data) = Envelope::refusal(refusal);
        Self { outcome: Outcome::Refused, type_name, data, at, event: None }
    }

    /// Adds the event that belongs to the answer.
    #[must_use]
    pub fn with_event(mut self, event: Option<Event>, sequence: u32) -> Self {
        self.event = event.map(|event| RecordedEvent {
            type_name: event.type_name.to_owned(),
            key: event.key.to_owned(),
            sequence,
            data: event.data,
        });
        self
    }

    /// Returns true if the answer is a refusal.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.outcome == Outcome::Refused
    }
}

pub(crate) fn encode<M: Serialize>(message: &M) -> Box<RawValue> {
    serde_json::value::to_raw_value(message).expect("a protobuf message is JSON")
}
