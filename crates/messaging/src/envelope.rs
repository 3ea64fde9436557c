//! One CloudEvent, in memory and as JSON.

use std::fmt;

use chrono::{DateTime, SecondsFormat};
use saga_core::{CommandId, OutgoingCommand, Refusal, Timestamp, Watermark};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::limits;

/// A command, a reply or a domain event. It has the fields that all three share; [`Body`] has the
/// rest.
#[derive(Clone)]
pub struct Envelope {
    /// Id of the command. In a reply or an event: of the command that it answers or follows from.
    pub id: CommandId,
    /// The sender, for example `saga/orchestrator` or `saga/hotel`.
    pub source: String,
    /// Full name of the protobuf message in `data`.
    pub type_name: String,
    /// Time of the sender's transaction, on the clock of the sender's database.
    pub time: Option<Timestamp>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    /// The protobuf message as canonical JSON.
    pub data: Box<RawValue>,
    /// The fields that only this kind of envelope has.
    pub body: Body,
}

/// The kind of an envelope, with the fields that only this kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A command, from the orchestrator to a participant.
    Command(CommandBody),
    /// A reply, from a participant to the orchestrators.
    Reply(ReplyBody),
    /// A domain event, from a participant to any subscriber.
    Event(EventBody),
}

/// The fields that only a command has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandBody {
    /// Number of times that this command has been sent, including this time.
    pub attempt: u32,
    /// Position of the command's event in the saga's stream of events.
    pub sequence: u32,
    /// Name of the saga's definition.
    pub definition: String,
    /// Version of the definition.
    pub definition_version: u32,
    /// All sagas with an id below the watermark ended long ago: participants may delete their
    /// records of them, and must not run commands that still arrive for them. Only a batch's first
    /// command to a participant carries the watermark.
    pub watermark: Option<Watermark>,
}

/// The fields that only a reply has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyBody {
    /// The outcome of the command.
    pub outcome: Outcome,
    /// True if the participant repeats an answer that it recorded earlier.
    pub repeat: bool,
    /// Name of the saga's definition. An orchestrator leaves replies alone whose definition it does
    /// not host.
    pub definition: String,
    /// Version of the definition.
    pub definition_version: u32,
    /// Number of orchestrators that passed the reply on, because they do not host that version.
    pub passed_on: u32,
    /// The participant that had sent the reply, as an orchestrator states that passed it on. It
    /// counts only in a message from an orchestrator.
    pub answered_by: Option<String>,
}

/// The outcome of a command, as its reply states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The effect happened; the envelope's data is the reply message.
    Done,
    /// The effect did not and will not happen; the envelope's data is a [`Refusal`].
    Refused,
    /// The action arrived after its compensation and was not run; the envelope's data is empty.
    TooLate,
}

/// The fields that only a domain event has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventBody {
    /// Position of the event in the saga's stream of events. Consumers sort by it.
    pub sequence: u32,
    /// Name of the saga's definition. Older publishers leave it out.
    pub definition: Option<String>,
    /// Version of the saga's definition, by which consumers know the saga's steps. Older publishers
    /// leave it out.
    pub definition_version: Option<u32>,
}

/// The reason why a message can never be handled. Such a message goes to the quarantine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Poison {
    /// The reason, for the operator.
    pub reason: String,
    /// The command's id, if it could be read.
    pub id: Option<CommandId>,
}

impl Poison {
    /// Describes a poison message whose command id is unknown.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), id: None }
    }
}

/// Type name of a refusal.
const REFUSAL: &str = "saga.types.v1.Refusal";
/// Type name of the answer to an action that came after its compensation.
const TOO_LATE: &str = "saga.types.v1.TooLate";

impl Envelope {
    /// Creates the envelope of a command that a turn decided to send.
    #[must_use]
    pub fn command(command: OutgoingCommand, source: &str, time: Timestamp) -> Self {
        Self {
            id: command.id,
            source: source.to_owned(),
            type_name: command.payload.type_name.to_owned(),
            time: Some(time),
            traceparent: command.traceparent,
            data: command.payload.data,
            body: Body::Command(CommandBody {
                attempt: command.attempt,
                sequence: command.sequence,
                definition: command.definition.to_owned(),
                definition_version: command.definition_version,
                watermark: None,
            }),
        }
    }

    /// Returns the type name and the data for a reply that refuses.
    ///
    /// # Panics
    /// Never: a refusal is two strings.
    #[must_use]
    pub fn refusal(refusal: &Refusal) -> (String, Box<RawValue>) {
        let data = serde_json::value::to_raw_value(refusal).expect("two strings are JSON");
        (REFUSAL.to_owned(), data)
    }

    /// Reads the refusal from a reply whose outcome is *refused*.
    ///
    /// # Errors
    /// If the data is not a refusal: the reply is poison.
    pub fn read_refusal(&self) -> Result<Refusal, Poison> {
        serde_json::from_str(self.data.get()).map_err(|error| Poison {
            reason: format!("not a refusal: {error}"),
            id: Some(self.id.clone()),
        })
    }

    /// Returns the type name and the data for a reply to an action that came after its
    /// compensation.
    ///
    /// # Panics
    /// Never: the data is a constant.
    #[must_use]
    pub fn too_late() -> (String, Box<RawValue>) {
        (TOO_LATE.to_owned(), RawValue::from_string("{}".to_owned()).expect("valid JSON"))
    }

    /// Reads an envelope from the JSON of a CloudEvent.
    ///
    /// # Errors
    /// If the JSON is not one of our envelopes. Retrying cannot help: quarantine the message.
    pub fn read(json: &RawValue) -> Result<Self, Poison> {
        let wire: Wire<'_> = serde_json::from_str(json.get())
            .map_err(|error| Poison::new(format!("not a CloudEvent: {error}")))?;
        wire.into_envelope()
    }

    /// Writes the envelope as a CloudEvent in JSON.
    ///
    /// # Panics
    /// Never: every field is a string, a number or JSON already.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&Wire::of(self)).expect("an envelope is JSON")
    }
}

impl fmt::Debug for Envelope {
    /// Leaves out the data, which may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("id", &self.id.to_string())
            .field("source", &self.source)
            .field("type_name", &self.type_name)
            .field("body", &self.body)
            .finish_non_exhaustive()
    }
}

/// The attributes of a CloudEvent as they appear in the JSON. Reading ignores unknown attributes,
/// so that old and new binaries can run side by side.
#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    type_name: String,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    datacontenttype: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    sequence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    definition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    definitionversion: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    watermark: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    repeat: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    passedon: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    answeredby: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl<'a> Wire<'a> {
    fn of(envelope: &'a Envelope) -> Self {
        let mut wire = Self {
            specversion: "1.0".to_owned(),
            id: envelope.id.to_string(),
            source: envelope.source.clone(),
            type_name: envelope.type_name.clone(),
            subject: envelope.id.saga.to_string(),
            time: envelope.time.and_then(rfc3339),
            datacontenttype: Some("application/json".to_owned()),
            traceparent: envelope.traceparent.clone(),
            attempt: None,
            sequence: None,
            definition: None,
            definitionversion: None,
            watermark: None,
            outcome: None,
            repeat: None,
            passedon: None,
            answeredby: None,
            data: &envelope.data,
        };
        match &envelope.body {
            Body::Command(command) => {
                wire.attempt = Some(command.attempt);
                wire.sequence = Some(sequence_text(command.sequence));
                wire.definition = Some(command.definition.clone());
                wire.definitionversion = Some(command.definition_version);
                wire.watermark = command.watermark.map(|watermark| watermark.to_string());
            }
            Body::Reply(reply) => {
                wire.outcome = Some(reply.outcome);
                wire.repeat = reply.repeat.then_some(true);
                wire.definition = Some(reply.definition.clone());
                wire.definitionversion = Some(reply.definition_version);
                wire.passedon = Some(reply.passed_on).filter(|times| *times > 0);
                wire.answeredby = reply.answered_by.clone();
            }
            Body::Event(event) => {
                wire.sequence = Some(sequence_text(event.sequence));
                wire.definition.clone_from(&event.definition);
                wire.definitionversion = event.definition_version;
            }
        }
        wire
    }

    fn into_envelope(self) -> Result<Envelope, Poison> {
        let id: CommandId = self
            .id
            .parse()
            .map_err(|error| Poison::new(format!("the id {:?} is {error}", cut(&self.id))))?;
        let poison = |reason: String| Poison { reason, id: Some(id.clone()) };
        if self.specversion != "1.0" {
            return Err(poison(format!("CloudEvents version {:?}", cut(&self.specversion))));
        }
        if self.subject != id.saga.to_string() {
            return Err(poison(format!(
                "the subject {:?} is not the saga of the id",
                cut(&self.subject)
            )));
        }
        if self.data.get().len() > limits::MAX_DATA_BYTES {
            return Err(poison(format!("{} bytes of data", self.data.get().len())));
        }
        let sequence = match &self.sequence {
            Some(text) => Some(
                text.parse::<u32>()
                    .map_err(|_| poison(format!("the sequence {:?} is no number", cut(text))))?,
            ),
            None => None,
        };
        let body = match (self.outcome, self.attempt, sequence) {
            (Some(outcome), _, _) => Body::Reply(ReplyBody {
                outcome,
                repeat: self.repeat.unwrap_or(false),
                definition: self.definition.ok_or_else(|| poison("no definition".into()))?,
                definition_version: self
                    .definitionversion
                    .ok_or_else(|| poison("no definitionversion".into()))?,
                passed_on: self.passedon.unwrap_or(0),
                answered_by: self.answeredby,
            }),
            (None, Some(attempt), Some(sequence)) => Body::Command(CommandBody {
                attempt,
                sequence,
                definition: self.definition.ok_or_else(|| poison("no definition".into()))?,
                definition_version: self
                    .definitionversion
                    .ok_or_else(|| poison("no definitionversion".into()))?,
                // A malformed watermark is dropped: it is not worth losing the message.
                watermark: self.watermark.as_deref().and_then(|text| text.parse().ok()),
            }),
            (None, None, Some(sequence)) => Body::Event(EventBody {
                sequence,
                definition: self.definition,
                definition_version: self.definitionversion,
            }),
            (None, _, None) => return Err(poison("neither command, reply nor event".into())),
        };
        Ok(Envelope {
            source: self.source,
            type_name: self.type_name,
            time: self.time.as_deref().and_then(micros),
            // A malformed trace context is dropped: it is not worth losing the message.
            traceparent: self.traceparent.filter(|t| t.len() == 55 && t.is_ascii()),
            data: self.data.to_owned(),
            body,
            id,
        })
    }
}

/// Pads a sequence number with zeros, as CloudEvents' sequence extension requires: sorting the
/// texts then sorts the numbers.
fn sequence_text(sequence: u32) -> String {
    format!("{sequence:04}")
}

pub(crate) fn rfc3339(at: Timestamp) -> Option<String> {
    let at = DateTime::from_timestamp_micros(at.0)?;
    Some(at.to_rfc3339_opts(SecondsFormat::Micros, true))
}

fn micros(text: &str) -> Option<Timestamp> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| Timestamp(at.timestamp_micros()))
}

/// Shortens a text from outside, so that it fits into the reason of a [`Poison`].
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(80)]
}
