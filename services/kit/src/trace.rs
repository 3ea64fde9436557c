//! Spans of commands, each in its own saga's trace. Nothing is made for a saga that
//! is not traced.

use std::time::SystemTime;

use saga_core::CommandId;
use saga_messaging::{CommandBody, Envelope, trace::Source};
use saga_trace::{Context, Kind, Span};

use crate::{Store, member::Member};

/// The span of a batch. One command alone is the span of its handling.
pub(crate) fn receiving(source: &Source, members: &[Member]) -> Option<Span> {
    let joined = if members.len() > 1 { members } else { &[] };
    let contexts = joined.iter().filter_map(Member::context);
    source.receiving(contexts, members.len(), SystemTime::now())
}

/// A command's way through the kit, from now until it is answered.
pub(crate) fn handling(
    source: &Source,
    context: Context,
    envelope: &Envelope,
    command: &CommandBody,
) -> Span {
    let CommandId { saga, step, direction } = &envelope.id;
    source
        .handling(context, format!("{step} {direction}"), SystemTime::now())
        .with("saga.id", saga.to_string())
        .with("saga.definition", command.definition.clone())
        .with("saga.step", step.clone())
        .with("saga.direction", direction.as_str())
        .with("saga.attempt", i64::from(command.attempt))
        .with("messaging.message.id", envelope.id.to_string())
}

/// One transaction has served these members: a span in each one's trace.
pub(crate) fn transactions<'a, S: Store>(
    members: impl ExactSizeIterator<Item = &'a Member>,
    began: SystemTime,
) {
    let count = members.len();
    for context in members.filter_map(Member::context) {
        Span::child(context, Kind::Client, "transaction")
            .since(began)
            .with("db.system.name", S::SYSTEM)
            .with("db.operation.name", "transaction")
            .with("db.operation.batch.size", count)
            .end();
    }
}
