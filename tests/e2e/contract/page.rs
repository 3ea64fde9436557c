//! Renders the document from the examples.

use std::fmt::Write as _;

use anyhow::Context as _;
use saga_proto::{CommandKind, EVENTS};
use saga_test_support::amqp::RawMessage;
use serde_json::{Value, json};

use super::{
    book::{Answer, Book, Kind, commands, participants},
    topology::{exchanges, queues},
    wire::stable_text,
};

/// The line after the head. People write the head, and this test writes the rest.
pub(crate) const BEGINS: &str = "<!-- From here on written by tests/e2e/contract.rs. -->\n";

/// The attributes of a message, in their order on the wire.
const ATTRIBUTES: [&str; 15] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "traceparent",
    "attempt",
    "sequence",
    "definition",
    "definitionversion",
    "outcome",
    "repeat",
    "data",
];

pub(crate) fn render(head: &str, book: &Book) -> anyhow::Result<String> {
    head_names_everything(head, book)?;
    let mut page = format!("{head}{BEGINS}");
    places(&mut page)?;
    properties(&mut page, book)?;
    for participant in participants() {
        writeln!(page, "\n## Commands to {participant}")?;
        for command in commands().filter(|command| command.participant == participant) {
            exchange_of(&mut page, book, command)?;
        }
    }
    late_and_repeated(&mut page, book)?;
    writeln!(page, "\n## Events")?;
    for event in EVENTS {
        let example = book.example(&Kind::Event(event.type_name.to_owned()))?;
        writeln!(
            page,
            "\n### `{}`\n\n{}, from `{}`.\n",
            event.key,
            link(event.type_name),
            source(example)
        )?;
        block(&mut page, example)?;
    }
    Ok(page)
}

/// Checks that the head's tables explain each attribute, property and header that was seen.
fn head_names_everything(head: &str, book: &Book) -> anyhow::Result<()> {
    let examples = book.examples.values().filter_map(Value::as_object);
    let mut names: Vec<String> = examples.flat_map(|example| example.keys().cloned()).collect();
    for (exchange, message) in &book.messages {
        let properties = properties_of(exchange, message)?;
        let own = properties.as_object().context("an object")?.keys();
        names.extend(
            own.filter(|name| !["routing key", "headers"].contains(&name.as_str())).cloned(),
        );
        names.extend(message.headers.keys().cloned());
    }
    for name in names.iter().filter(|name| *name != "data") {
        anyhow::ensure!(head.contains(&format!("`{name}`")), "the head does not explain {name}");
    }
    Ok(())
}

fn places(page: &mut String) -> anyhow::Result<()> {
    writeln!(page, "\n## Exchanges\n")?;
    writeln!(
        page,
        "| exchange | kind | durable | routing key | queue |\n| --- | --- | --- | --- | --- |"
    )?;
    for (name, kind, durable, key, queue) in exchanges() {
        let kind = format!("{kind:?}").to_lowercase();
        let durable = if durable { "yes" } else { "no" };
        writeln!(page, "| `{name}` | {kind} | {durable} | {key} | {queue} |")?;
    }
    writeln!(page, "\n## Queues\n\n| queue | arguments |\n| --- | --- |")?;
    for (name, arguments) in queues() {
        let arguments: Vec<String> =
            arguments.iter().map(|(key, value)| format!("`{key}: {value}`")).collect();
        writeln!(page, "| `{name}` | {} |", arguments.join(", "))?;
    }
    Ok(())
}

fn properties(page: &mut String, book: &Book) -> anyhow::Result<()> {
    writeln!(page, "\n## Properties and headers\n\nA message of each exchange, without its body:")?;
    for (exchange, message) in &book.messages {
        writeln!(page, "\n### `{exchange}`\n")?;
        block(page, &properties_of(exchange, message)?)?;
    }
    Ok(())
}

fn properties_of(exchange: &str, message: &RawMessage) -> anyhow::Result<Value> {
    let id = message.message_id.as_deref().context("a message has an id")?;
    let own = id.split('/').next().unwrap_or_default();
    let mut headers = json!({});
    for (name, value) in &message.headers {
        // This header has a new value each time: it identifies a message that the broker returns.
        let stable = if name == "saga-publish" { "1".to_owned() } else { value.clone() };
        let stable = stable.replacen(&prefix_of(exchange, message), "", 1);
        headers[name.as_str()] = json!(stable);
    }
    let mut properties = json!({
        "routing key": message.key,
        "content_type": message.content_type,
        "delivery_mode": 2,
        "message_id": stable_text(id, own),
        "app_id": message.app_id,
    });
    if let Some(reply_to) = &message.reply_to {
        properties["reply_to"] = json!(reply_to);
    }
    if let Some(expiration) = &message.expiration {
        // The expiry is 0.8 of the first time-out, which is 3 s, with a jitter.
        let millis: u64 = expiration.parse()?;
        anyhow::ensure!((1_900..=2_900).contains(&millis), "it lives for {millis} ms");
        properties["expiration"] = json!("2400");
    }
    if !message.headers.is_empty() {
        properties["headers"] = headers;
    }
    Ok(properties)
}

fn prefix_of(exchange: &str, message: &RawMessage) -> String {
    let before_names = exchange.split(".{").next().unwrap_or_default();
    let split = message.exchange.split_once(before_names);
    split.map(|(prefix, _)| prefix.to_owned()).unwrap_or_default()
}

/// Writes a command and every answer to it.
fn exchange_of(page: &mut String, book: &Book, command: &CommandKind) -> anyhow::Result<()> {
    let name = command.type_name.to_owned();
    let comment = book.comment(command.type_name).context("a command has a comment")?;
    let short = command.type_name.rsplit('.').next().unwrap_or_default();
    writeln!(page, "\n### `{short}`\n\n{comment} Fields: {}.\n", link(command.type_name))?;
    block(page, book.example(&Kind::Command(name.clone()))?)?;
    writeln!(page, "\nDone: {}.\n", link(command.reply))?;
    block(page, book.example(&Kind::Reply(name.clone(), Answer::Done))?)?;
    for (kind, example) in &book.examples {
        if let Kind::Reply(of, Answer::Refused(code)) = kind
            && *of == name
        {
            writeln!(page, "\nRefused, `{code}`:\n")?;
            block(page, example)?;
        }
    }
    Ok(())
}

/// Writes the answers that look alike for every command (all of them were compared).
fn late_and_repeated(page: &mut String, book: &Book) -> anyhow::Result<()> {
    writeln!(page, "\n## Answers to every command")?;
    let mut show = |title: &str, wanted: Answer| {
        let answers = |command: &&CommandKind| {
            book.examples.get(&Kind::Reply(command.type_name.to_owned(), wanted.clone()))
        };
        let example = commands().find_map(|command| answers(&command));
        writeln!(page, "\n### {title}\n")?;
        block(page, example.with_context(|| format!("no answer {wanted:?}"))?)
    };
    show("Too late: an action that came after its compensation", Answer::TooLate)?;
    show("Repeated: the recorded answer, whatever it is, once more", Answer::Repeat)
}

/// Returns a link to the description of a message's fields.
fn link(type_name: &str) -> String {
    format!("[`{type_name}`](grpc.md#{})", type_name.to_lowercase().replace('.', ""))
}

fn source(event: &Value) -> &str {
    event["source"].as_str().unwrap_or_default()
}

/// Writes a JSON object, with its attributes in their order on the wire.
fn block(page: &mut String, value: &Value) -> anyhow::Result<()> {
    let object = value.as_object().context("an object")?;
    let known = ATTRIBUTES.iter().filter_map(|name| object.get_key_value(*name));
    let others = object.iter().filter(|(name, _)| !ATTRIBUTES.contains(&name.as_str()));
    let mut lines = Vec::new();
    for (name, value) in known.chain(others) {
        let value = serde_json::to_string_pretty(value)?.replace('\n', "\n  ");
        lines.push(format!("  {}: {value}", json!(name)));
    }
    writeln!(page, "```json\n{{\n{}\n}}\n```", lines.join(",\n"))?;
    Ok(())
}
