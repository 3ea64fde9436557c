//! Exchanges and queues: the broker has those that the document lists.

use anyhow::ensure;
use saga_test_support::amqp::{ExchangeKind, exchange_is, queue_has};

use super::book;
use crate::system::System;

/// Returns each exchange: its name, kind, durability, routing key, and the queues bound to it.
pub(crate) fn exchanges() -> [(&'static str, ExchangeKind, bool, &'static str, &'static str); 9] {
    use ExchangeKind::{Direct, Fanout, Topic};
    let (queue, none) = ("`saga.commands.{participant}`", "none");
    [
        ("saga.commands", Direct, true, "the participant", queue),
        ("saga.again.{participant}", Direct, true, "the participant", queue),
        ("saga.replies.{participant}", Direct, true, "the command's `reply_to`", "`saga.replies`"),
        ("saga.replies", Direct, true, "the deployment", "`saga.replies`"),
        ("shop.events", Topic, true, "like `order.confirmed`", "whoever binds one"),
        ("saga.quarantine.{participant}", Fanout, true, none, "`saga.quarantine`"),
        ("saga.quarantine.orchestrator", Fanout, true, none, "`saga.quarantine`"),
        ("saga.quarantine", Fanout, true, none, "`saga.quarantine`"),
        ("saga.hints", Fanout, false, none, "one exclusive queue an orchestrator"),
    ]
}

/// Arguments of a queue whose dead letters go to the quarantine. `{prefix}` is the deployment's.
pub(crate) const BOUNDED: &[(&str, &str)] = &[
    ("x-queue-type", "quorum"),
    ("x-delivery-limit", "10"),
    ("x-dead-letter-exchange", "{prefix}saga.quarantine"),
    ("x-dead-letter-strategy", "at-least-once"),
    ("x-overflow", "reject-publish"),
];

/// Arguments of the queue that keeps every message.
pub(crate) const KEEPING: &[(&str, &str)] = &[("x-queue-type", "quorum")];

/// Returns the queues, with their arguments.
pub(crate) fn queues() -> Vec<(String, &'static [(&'static str, &'static str)])> {
    let commands = book::participants().map(|name| (format!("saga.commands.{name}"), BOUNDED));
    let others = [("saga.replies".to_owned(), BOUNDED), ("saga.quarantine".to_owned(), KEEPING)];
    commands.chain(others).collect()
}

/// Checks the broker by declaring everything as documented: a declaration that differs from an
/// existing exchange or queue is refused.
pub(crate) async fn is_as_documented(system: &System) -> anyhow::Result<()> {
    let (url, prefix) = (system.amqp_url(), system.prefix());
    for (name, kind, durable, ..) in exchanges() {
        for participant in book::participants() {
            let full = format!("{prefix}{name}").replace("{participant}", participant);
            ensure!(exchange_is(url, &full, kind.clone(), durable).await?, "{full} is otherwise");
            let lax = exchange_is(url, &full, kind.clone(), !durable).await?;
            ensure!(!lax, "the broker looks at nothing");
        }
    }
    for (name, arguments) in queues() {
        let values: Vec<(&str, String)> = arguments
            .iter()
            .map(|(key, value)| (*key, value.replace("{prefix}", prefix)))
            .collect();
        let arguments: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let full = format!("{prefix}{name}");
        ensure!(queue_has(url, &full, &arguments).await?, "{name} has other arguments");
        let fewer = &arguments[1..];
        ensure!(!queue_has(url, &full, fewer).await?, "the broker compares no arguments");
    }
    Ok(())
}
