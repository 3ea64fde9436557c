//! An event about a saga itself, rather than about a step's command.

use saga_core::{SagaId, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Message, envelope::rfc3339};

/// An event that an orchestrator publishes for any subscriber. It has no sequence number, because
/// it does not belong to the stream of events about the saga's steps.
#[derive(Clone)]
pub struct Notice {
    /// The saga that the event is about.
    pub saga: SagaId,
    /// The saga's version. It is part of the event's id, so a repeated event has the same id.
    pub version: u64,
    /// The event's name, which is part of its id and its routing key: `stuck` in the key
    /// `saga.stuck`.
    pub name: &'static str,
    /// The sender, for example `saga/orchestrator`.
    pub source: &'static str,
    /// Name of the saga's definition.
    pub definition: String,
    /// Version of the saga's definition.
    pub definition_version: u32,
    /// Full name of the protobuf message in `data`.
    pub type_name: &'static str,
    /// Time of the orchestrator's transaction, on the clock of the saga database.
    pub time: Timestamp,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// The protobuf message as canonical JSON.
    pub data: Box<RawValue>,
}

/// The attributes of the CloudEvent as they appear in the JSON.
#[derive(Serialize)]
struct Wire<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'static str,
    #[serde(rename = "type")]
    type_name: &'static str,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    definition: &'a str,
    definitionversion: u32,
    data: &'a RawValue,
}

impl Notice {
    /// Converts the event into a message to publish.
    ///
    /// # Panics
    /// Never: every field is a string or JSON already.
    #[must_use]
    pub fn message(&self) -> Message {
        let id = format!("{}/{}/{}", self.saga, self.name, self.version);
        let wire = Wire {
            specversion: "1.0",
            id: &id,
            source: self.source,
            type_name: self.type_name,
            subject: self.saga.to_string(),
            time: rfc3339(self.time),
            datacontenttype: "application/json",
            traceparent: self.traceparent.as_deref(),
            definition: &self.definition,
            definitionversion: self.definition_version,
            data: &self.data,
        };
        let body = serde_json::to_vec(&wire).expect("a notice is JSON");
        Message::event(format!("saga.{}", self.name), id, body)
    }
}
