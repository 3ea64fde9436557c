//! Spans of messages, by OpenTelemetry's conventions for messaging.
//!
//! A parcel is one span, no matter which sagas its members belong to. Handling a member is a span
//! in its own saga's trace.

use std::time::SystemTime;

use saga_trace::{Context, Kind, Span};

use crate::{Message, Queue, Transport};

/// The span of publishing one message with `count` members, of which `members` are traced. `None`
/// if none is.
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

/// A queue that is consumed, as spans name it.
#[derive(Clone, Debug)]
pub struct Source {
    system: &'static str,
    name: String,
}

impl Source {
    /// A transport's queue.
    pub fn of<T: Transport>(transport: &T, queue: &Queue) -> Self {
        Self { system: T::SYSTEM, name: transport.source(queue) }
    }

    /// The span of taking `count` members at once, since `began`; `members` are the traced ones.
    /// `None` if none is.
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

    /// The span of handling one member, in the member's own trace.
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
