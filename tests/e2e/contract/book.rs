//! Examples for the document: one of each kind of message, chosen among all that were seen.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};
use prost::Message as _;
use prost_types::{DescriptorProto, FileDescriptorSet, field_descriptor_proto::Type};
use saga_proto::{COMMANDS, CommandKind, EVENTS};
use saga_test_support::amqp::RawMessage;
use serde_json::Value;

use super::{
    TRACE,
    wire::{Wire, stable},
};

/// The kinds of messages. The document has one example of each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Command(String),
    /// The command that it answers, and the kind of answer.
    Reply(String, Answer),
    Event(String),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    Done,
    /// The refusal's code.
    Refused(String),
    TooLate,
    Repeat,
}

/// The examples, and one whole message of each exchange.
pub(crate) struct Book {
    pub(crate) examples: BTreeMap<Kind, Value>,
    pub(crate) messages: [(&'static str, RawMessage); 4],
    set: FileDescriptorSet,
}

/// Returns every command of the contract.
pub(crate) fn commands() -> impl Iterator<Item = &'static CommandKind> {
    COMMANDS.iter().copied().flatten()
}

pub(crate) fn participants() -> impl Iterator<Item = &'static str> {
    commands().map(|kind| kind.participant).collect::<BTreeSet<_>>().into_iter()
}

impl Book {
    pub(crate) fn of(wire: &Wire) -> anyhow::Result<Self> {
        let mut heard: BTreeMap<Kind, Vec<Value>> = BTreeMap::new();
        let mut types = BTreeMap::new();
        for (message, command) in wire.commands.members()? {
            let type_name = text(&command, "type")?;
            let known = commands().find(|kind| kind.type_name == type_name);
            let known = known.with_context(|| format!("{type_name} is not in the contract"))?;
            ensure!(known.participant == message.key, "{type_name} went to {}", message.key);
            types.insert(text(&command, "id")?, type_name.clone());
            heard.entry(Kind::Command(type_name)).or_default().push(command);
        }
        for (_, reply) in wire.replies.members()? {
            let of = types.get(&text(&reply, "id")?).context("an answer to nothing")?;
            let kind = Kind::Reply(of.clone(), answer(&reply)?);
            heard.entry(kind).or_default().push(reply);
        }
        for (message, event) in wire.events.members()? {
            let type_name = text(&event, "type")?;
            let known = EVENTS.iter().find(|kind| kind.type_name == type_name);
            let known = known.with_context(|| format!("{type_name} is not in the contract"))?;
            ensure!(known.key == message.key, "{type_name} has the key {}", message.key);
            heard.entry(Kind::Event(type_name)).or_default().push(event);
        }
        let examples = heard.into_iter().map(|(kind, all)| Ok((kind.clone(), choose(kind, &all)?)));
        let examples = examples.collect::<anyhow::Result<_>>()?;
        let first = |name, messages: Vec<RawMessage>| {
            let ours = messages.into_iter().find(|message| message.app_id.is_some());
            anyhow::Ok((name, ours.with_context(|| format!("nothing in {name}"))?))
        };
        let messages = [
            first("saga.commands", wire.commands.messages())?,
            first("saga.replies.{participant}", wire.replies.messages())?,
            first("shop.events", wire.events.messages())?,
            first("saga.quarantine.{participant}", wire.quarantined().into_iter().collect())?,
        ];
        for (exchange, message) in &messages {
            ensure!(message.persistent, "a message of {exchange} dies with the broker");
        }
        let mut set = FileDescriptorSet::decode(saga_proto::DESCRIPTORS)?;
        set.file.extend(FileDescriptorSet::decode(saga_operations::DESCRIPTORS)?.file);
        Ok(Self { examples, messages, set })
    }

    /// Checks that all of the contract was seen: every command, its answer *done*, a repetition of
    /// it, every event, and every field of each.
    pub(crate) fn is_complete(&self) -> anyhow::Result<()> {
        for command in commands() {
            let name = command.type_name.to_owned();
            self.has_every_field(&Kind::Command(name.clone()), command.type_name)?;
            self.has_every_field(&Kind::Reply(name.clone(), Answer::Done), command.reply)?;
            self.example(&Kind::Reply(name, Answer::Repeat))?;
        }
        for event in EVENTS {
            self.has_every_field(&Kind::Event(event.type_name.to_owned()), event.type_name)?;
        }
        for (kind, example) in &self.examples {
            let expected = match kind {
                Kind::Reply(_, Answer::Refused(_)) => "saga.types.v1.Refusal",
                Kind::Reply(_, Answer::TooLate) => "saga.types.v1.TooLate",
                Kind::Reply(..) | Kind::Command(_) | Kind::Event(_) => continue,
            };
            ensure!(example["type"] == expected, "{kind:?} has the type {}", example["type"]);
            self.has_every_field(kind, expected)?;
        }
        let late = |kind: &Kind| matches!(kind, Kind::Reply(_, Answer::TooLate));
        ensure!(self.examples.keys().any(late), "nothing came too late");
        Ok(())
    }

    pub(crate) fn example(&self, kind: &Kind) -> anyhow::Result<&Value> {
        self.examples.get(kind).with_context(|| {
            format!("{kind:?} was never heard: provoke it in tests/e2e/contract.rs")
        })
    }

    fn has_every_field(&self, kind: &Kind, type_name: &str) -> anyhow::Result<()> {
        let example = self.example(kind)?;
        ensure!(example["type"] == type_name, "{kind:?} has the type {}", example["type"]);
        self.covers(type_name, &example["data"]).with_context(|| format!("{kind:?}: {example}"))
    }

    fn covers(&self, type_name: &str, data: &Value) -> anyhow::Result<()> {
        let message = self.message(type_name)?;
        for field in &message.field {
            let value = match &data[field.json_name()] {
                Value::Null => bail!("{type_name}.{} is in no example", field.json_name()),
                Value::Array(all) => all.first().context("an empty list")?,
                value => value,
            };
            if field.r#type() == Type::Message {
                self.covers(field.type_name().trim_start_matches('.'), value)?;
            }
        }
        Ok(())
    }

    fn message(&self, type_name: &str) -> anyhow::Result<&DescriptorProto> {
        let (package, name) = type_name.rsplit_once('.').context("a full name")?;
        let files = self.set.file.iter().filter(|file| file.package() == package);
        let mut messages = files.flat_map(|file| &file.message_type);
        messages
            .find(|message| message.name() == name)
            .with_context(|| format!("no message {type_name}"))
    }

    /// Returns the comment on a message in its `.proto` file.
    pub(crate) fn comment(&self, type_name: &str) -> Option<String> {
        let (package, name) = type_name.rsplit_once('.')?;
        let file = self.set.file.iter().find(|file| file.package() == package)?;
        let place = file.message_type.iter().position(|message| message.name() == name)?;
        // In descriptor.proto, 4 is the number of the field that holds a file's messages.
        let path = [4, i32::try_from(place).ok()?];
        let mut locations = file.source_code_info.iter().flat_map(|info| &info.location);
        let comment = locations.find(|location| location.path == path)?.leading_comments();
        let lines: Vec<&str> = comment.lines().map(str::trim).collect();
        Some(lines.join("\n").trim().to_owned())
    }
}

fn answer(reply: &Value) -> anyhow::Result<Answer> {
    if reply["repeat"] == true {
        return Ok(Answer::Repeat);
    }
    Ok(match text(reply, "outcome")?.as_str() {
        "done" => Answer::Done,
        "refused" => Answer::Refused(text(&reply["data"], "code")?),
        "toolate" => Answer::TooLate,
        other => bail!("an outcome {other:?}"),
    })
}

/// Chooses the example with the most fields, the first of several. All others must fit it.
fn choose(kind: Kind, all: &[Value]) -> anyhow::Result<Value> {
    let all: Vec<Value> = all
        .iter()
        .map(|event| {
            let trace = event["traceparent"].as_str().unwrap_or_default();
            ensure!(trace[3..].starts_with(TRACE), "{kind:?} left the trace: {event}");
            Ok(stable(event))
        })
        .collect::<anyhow::Result<_>>()?;
    let mut chosen = &all[0];
    for event in &all {
        if leaves(event) > leaves(chosen) {
            chosen = event;
        }
    }
    for event in &all {
        let (some, example) = (event.as_object(), chosen.as_object());
        let (some, example) = (some.context("an object")?, example.context("an object")?);
        ensure!(some.keys().eq(example.keys()), "{kind:?}: {event}\nis not like {chosen}");
        ensure!(fits(event, chosen), "{kind:?}: {event}\nis not like {chosen}");
    }
    Ok(chosen.clone())
}

fn leaves(value: &Value) -> usize {
    match value {
        Value::Array(all) => all.iter().map(leaves).max().unwrap_or(0),
        Value::Object(all) => all.values().map(|value| 1 + leaves(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Returns whether `value` has only fields that the example has, of the same JSON types. It may
/// lack some: on the wire a field with its default is left out.
fn fits(value: &Value, example: &Value) -> bool {
    match (value, example) {
        (Value::Object(some), Value::Object(all)) => some
            .iter()
            .all(|(name, value)| all.get(name).is_some_and(|example| fits(value, example))),
        (Value::Array(some), Value::Array(all)) => {
            some.iter().all(|value| all.first().is_some_and(|example| fits(value, example)))
        }
        (value, example) => std::mem::discriminant(value) == std::mem::discriminant(example),
    }
}

fn text(value: &Value, name: &str) -> anyhow::Result<String> {
    let text = value[name].as_str();
    Ok(text.with_context(|| format!("no {name} in {value}"))?.to_owned())
}
