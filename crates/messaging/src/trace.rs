//! Spans of messages, by OpenTelemetry's conventions for messaging.
//!
//! A parcel is one span, no matter which sagas its members belong to. Handling a member is a span
//! in its own saga's trace.

use std::time::SystemTime;

use saga_trace::{Context, Kind, Span};

use crate::{Message, Queue, Transport};

/// Starts the span of publishing one message with `count` members. `members` are the contexts of
/// the traced ones; without any, this returns `None`.
pub fn publishing<T: Transport>(
    transport: &T,
    message: &Message,
    members: impl IntoIterator<Item = Context>,
    count: usize,
) -> Option<Span> {
    let mut members = members.into_iter().peekable();
    members.peek()?;
    let destination = transport.destination(&message.route);
    let span = Span::joining(members, Kind::Producer, format!("publish {destination}"))?;
    Some(
        span.with("messaging.system", T::SYSTEM)
            .with("messaging.operation.name", "publish")
            .with("messaging.operation.type", "send")
            .with("messaging.destination.name", destination)
            .with("messaging.message.id", message.id.clone())
            .with("messaging.message.body.size", message.body.len())
            .with("messaging.batch.message_count", count),
    )
}

/// A queue that is consumed, under the name that spans give it.
#[derive(Clone, Debug)]
pub struct Source {
    system: &'static str,
    name: String,
}

impl Source {
    /// Returns the source for one of the transport's queues.
    pub fn of<T: Transport>(transport: &T, queue: &Queue) -> Self {
        Self { system: T::SYSTEM, name: transport.source(queue) }
    }

    /// Creates the span of receiving `count` members at once, which began at `began`. `members` are
    /// the contexts of the traced ones; without any, this returns `None`.
    pub fn receiving(
        &self,
        members: impl IntoIterator<Item = Context>,
        count: usize,
        began: SystemTime,
    ) -> Option<Span> {
        let mut members = members.into_iter().peekable();
        members.peek()?;
        let span = Span::joining(members, Kind::Client, format!("receive {}", self.name))?;
        Some(
            self.named(span, "receive", "receive")
                .since(began)
                .with("messaging.batch.message_count", count),
        )
    }

    /// Creates the span of handling one member, in the trace of the member's saga.
    pub fn handling(&self, member: Context, name: String, began: SystemTime) -> Span {
        let span = Span::child(member, Kind::Consumer, name);
        self.named(span, "process", "process").since(began)
    }

    fn named(&self, span: Span, name: &'static str, of_type: &'static str) -> Span {
        span.with("messaging.system", self.system)
            .with("messaging.operation.name", name)
            .with("messaging.operation.type", of_type)
            .with("messaging.destination.name", self.name.clone())
    }
}
