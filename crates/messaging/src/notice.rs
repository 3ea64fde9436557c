//! An event of a saga itself, and not of a step's command.

use bytes::Bytes;
use saga_core::{SagaId, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Message, Route, envelope::rfc3339, parcel};

/// What an orchestrator tells whoever listens. It has no sequence: it is not of the
/// stream that a saga's steps make.
#[derive(Clone)]
pub struct Notice {
    /// The saga that it is about.
    pub saga: SagaId,
    /// That saga's version, which makes the id: what is said twice has the same.
    pub version: u64,
    /// Its name, in the id and in the routing key: `stuck`, under `saga.stuck`.
    pub name: &'static str,
    /// Who says it: `saga/orchestrator`.
    pub source: &'static str,
    /// Full protobuf name of the data.
    pub type_name: &'static str,
    /// When its transaction took place, on the saga database's clock.
    pub time: Timestamp,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// Canonical JSON of the message.
    pub data: Box<RawValue>,
}

/// The attributes as they stand in the JSON.
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
    data: &'a RawValue,
}

impl Notice {
    /// The event as it is published.
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
            data: &self.data,
        };
        let body = serde_json::to_vec(&wire).expect("a notice is JSON");
        Message {
            route: Route::Event { key: format!("saga.{}", self.name) },
            id,
            content_type: parcel::SINGLE,
            body: Bytes::from(body),
            expiry: None,
            reply_to: None,
            redelivered: false,
        }
    }
}
