//! The messages that were on the wire, in order within each exchange.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use saga_test_support::{
    amqp::{Listener, RawMessage},
    eventually,
};
use serde_json::{Value, json, value::RawValue};

use super::{LIMIT, POISON, STRANGER, book};
use crate::system::System;

/// Taps on the exchanges. They are emptied all the time, because a waiting command would expire
/// in a tap's queue too.
pub(crate) struct Wire {
    pub(crate) commands: Tap,
    pub(crate) replies: Tap,
    pub(crate) events: Tap,
    pub(crate) quarantine: Tap,
}

/// The messages that some exchanges have carried.
pub(crate) struct Tap(Arc<Mutex<Vec<RawMessage>>>);

impl Wire {
    pub(crate) async fn tap(system: &System) -> anyhow::Result<Self> {
        let participants: Vec<&str> = book::participants().collect();
        let of_each = |exchange| participants.iter().map(move |name| format!("{exchange}.{name}"));
        let (replies, quarantine) = (of_each("saga.replies"), of_each("saga.quarantine"));
        let one = |exchange: &str| [exchange.to_owned()];
        Ok(Self {
            commands: Tap::at(system, one("saga.commands"), &participants).await?,
            replies: Tap::at(system, replies, &["orchestrator", STRANGER]).await?,
            events: Tap::at(system, one("shop.events"), &["#"]).await?,
            quarantine: Tap::at(system, quarantine, &[""]).await?,
        })
    }

    /// Returns the first command of each type.
    pub(crate) fn first_of_each_command(&self) -> anyhow::Result<Vec<Value>> {
        let mut first: BTreeMap<String, Value> = BTreeMap::new();
        for (_, command) in self.commands.members()? {
            first.entry(command["type"].to_string()).or_insert(command);
        }
        Ok(first.into_values().collect())
    }

    /// Returns a command's original text: with its fields in another order it would be another
    /// payload.
    pub(crate) fn text_of(&self, id: &Value) -> anyhow::Result<String> {
        for message in self.commands.messages() {
            let parcel: Vec<&RawValue> = serde_json::from_slice(&message.body).unwrap_or_default();
            for member in parcel {
                if serde_json::from_str::<Value>(member.get())?["id"] == *id {
                    return Ok(member.get().to_owned());
                }
            }
        }
        anyhow::bail!("{id} was never sent")
    }

    /// Returns the answers to a command, in order. With `only_ours`, only those sent to this test.
    pub(crate) fn answers(&self, id: &Value, only_ours: bool) -> Vec<Value> {
        let replies = self.replies.members().expect("replies are JSON");
        let ours = |message: &RawMessage| message.key == STRANGER || !only_ours;
        let found =
            replies.into_iter().filter(|(message, reply)| reply["id"] == *id && ours(message));
        found.map(|(_, reply)| reply).collect()
    }

    /// Waits until a command has more than `known` answers, and returns the first new one.
    pub(crate) async fn answer(&self, id: &Value, only_ours: bool, known: usize) -> Value {
        eventually(&format!("an answer to {id}"), LIMIT, async || {
            self.answers(id, only_ours).into_iter().nth(known)
        })
        .await
    }

    /// Returns `Some` if an event has reported that the saga is stuck.
    pub(crate) fn told(&self, saga: &str) -> Option<()> {
        let is_of = |m: &RawMessage| m.key == "saga.stuck" && of_saga(m, saga);
        self.events.messages().iter().any(is_of).then_some(())
    }

    pub(crate) fn quarantined(&self) -> Option<RawMessage> {
        self.quarantine.messages().into_iter().find(|message| message.body == POISON.as_bytes())
    }
}

fn of_saga(message: &RawMessage, saga: &str) -> bool {
    message.message_id.as_deref().is_some_and(|id| id.starts_with(saga))
}

impl Tap {
    async fn at(
        system: &System,
        exchanges: impl IntoIterator<Item = String>,
        keys: &[&str],
    ) -> anyhow::Result<Self> {
        let tapped = Arc::new(Mutex::new(Vec::new()));
        for exchange in exchanges {
            let exchange = format!("{}{exchange}", system.prefix());
            let listener = Listener::bind(system.amqp_url(), &exchange, keys).await?;
            listener.collect(Arc::clone(&tapped));
        }
        Ok(Self(tapped))
    }

    pub(crate) fn messages(&self) -> Vec<RawMessage> {
        self.0.lock().expect("nobody panics").clone()
    }

    /// Returns every CloudEvent, with the message that carried it, but without this test's poison.
    pub(crate) fn members(&self) -> anyhow::Result<Vec<(RawMessage, Value)>> {
        let mut members = Vec::new();
        for message in self.messages().into_iter().filter(|m| m.body != POISON.as_bytes()) {
            match serde_json::from_slice(&message.body)? {
                Value::Array(parcel) => {
                    members.extend(parcel.into_iter().map(|member| (message.clone(), member)));
                }
                single => members.push((message, single)),
            }
        }
        Ok(members)
    }
}

/// Replaces the values that differ from run to run: ids, times, and span ids.
pub(crate) fn stable(event: &Value) -> Value {
    let own = event["subject"].as_str().unwrap_or_default().to_owned();
    let mut event = event.clone();
    if event.get("time").is_some() {
        event["time"] = json!("2026-01-01T12:00:00.000000Z");
    }
    if event.get("traceparent").is_some() {
        event["traceparent"] = json!(format!("00-{}-00f067aa0ba902b7-01", super::TRACE));
    }
    // Which command carries the watermark depends on the commands that were sent together.
    if let Some(event) = event.as_object_mut() {
        event.remove("watermark");
    }
    // The version depends on which of two answers came first, and that is chance.
    if event["type"] == "saga.operations.v1.SagaStuck" {
        event["id"] = json!(format!("{own}/stuck/9"));
        event["data"]["version"] = json!("9");
        event["data"]["sinceMicros"] = json!("1767268800000000");
    }
    replace(&mut event, &own);
    event
}

/// Replacement ids: of the saga in the subject, and of any other saga.
const SAGA: &str = "019b76da-0000-7000-8000-000000000001";
const OTHER: &str = "019b76da-0000-7000-8000-000000000002";

fn replace(value: &mut Value, own: &str) {
    match value {
        Value::String(text) => *text = stable_text(text, own),
        Value::Array(all) => all.iter_mut().for_each(|value| replace(value, own)),
        Value::Object(all) => all.values_mut().for_each(|value| replace(value, own)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Replaces the id with which a text begins.
pub(crate) fn stable_text(text: &str, own: &str) -> String {
    match text.split('/').next() {
        Some(id) if id.parse::<uuid::Uuid>().is_ok() => {
            text.replacen(id, if id == own { SAGA } else { OTHER }, 1)
        }
        _ => text.to_owned(),
    }
}
