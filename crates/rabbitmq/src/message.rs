//! Converts a message to lapin's terms: exchange, routing key and properties.

use std::time::Duration;

use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};
use saga_messaging::{FROM_HEADER, Message, REASON_HEADER, Route};

use crate::Topology;

/// Header of a message that repeats one that may have been handled before.
pub const REDELIVERED_HEADER: &str = "saga-redelivered";
/// Header with a number that tells returned messages apart. The message id cannot do that, because
/// several messages in flight may have the same id. An adapter never uses a number twice.
const PUBLISH_HEADER: &str = "saga-publish";

/// `delivery_mode` of messages that must survive a restart of the broker.
const PERSISTENT: u8 = 2;
/// Longest id or reply key: AMQP's limit for a text property.
const MAX_TEXT_BYTES: usize = 255;
/// Maximum number of bytes of a reason. It is for people, and a longer one would only fill the
/// frame.
const MAX_REASON_BYTES: usize = 1_024;

/// A message in lapin's terms.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) exchange: ShortString,
    pub(crate) key: ShortString,
    pub(crate) mandatory: bool,
    pub(crate) properties: BasicProperties,
}

/// Converts a message to lapin's terms. Returns `None` if its routing key or its reply key is too
/// long for any binding, so that no queue could ever receive it.
pub(crate) fn lay_out(
    message: &Message,
    topology: &Topology,
    app_id: &str,
    publish_id: i64,
) -> Option<Outgoing> {
    let mut headers = FieldTable::default();
    let mut reply_to = message.reply_to.as_deref();
    let (exchange, key, mandatory) = match &message.route {
        Route::Command { participant } => {
            reply_to = reply_to.or(Some(topology.reply_key()));
            (topology.commands(), participant.as_str(), true)
        }
        Route::Again { participant } => (topology.again(participant), participant.as_str(), true),
        Route::Reply { to, from } => (topology.replies_of(from), to.as_str(), true),
        Route::OwnReplies => (topology.replies(), topology.reply_key(), true),
        Route::Event { key } => (topology.events(), key.as_str(), false),
        Route::Quarantine { reason, from } => {
            headers.insert(REASON_HEADER.into(), text(cut(reason, MAX_REASON_BYTES)));
            headers.insert(FROM_HEADER.into(), text(&topology.queue(from)));
            (topology.quarantine_of(from), "", true)
        }
    };
    if mandatory {
        headers.insert(PUBLISH_HEADER.into(), AMQPValue::LongLongInt(publish_id));
    }
    if message.redelivered {
        headers.insert(REDELIVERED_HEADER.into(), AMQPValue::Boolean(true));
    }
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type(message.content_type.into())
        .with_message_id(cut(&message.id, MAX_TEXT_BYTES).into())
        .with_app_id(cut(app_id, MAX_TEXT_BYTES).into())
        .with_headers(headers);
    if let Some(expiry) = message.expiry {
        properties = properties.with_expiration(milliseconds(expiry).into());
    }
    if let Some(reply_to) = reply_to {
        properties = properties.with_reply_to(ShortString::try_new(reply_to).ok()?);
    }
    if let Some(login) = &topology.login {
        properties = properties.with_user_id(ShortString::try_new(login.as_str()).ok()?);
    }
    let key = ShortString::try_new(key).ok()?;
    Some(Outgoing { exchange: exchange.into(), key, mandatory, properties })
}

/// Returns the number under which a returned message was published.
pub(crate) fn publish_id(properties: &BasicProperties) -> Option<i64> {
    let headers = properties.headers().as_ref()?;
    headers.inner().get(PUBLISH_HEADER)?.as_long_long_int()
}

/// Returns the name of a route, for metrics.
pub(crate) const fn route_name(route: &Route) -> &'static str {
    match route {
        Route::Command { .. } | Route::Again { .. } => "command",
        Route::Reply { .. } | Route::OwnReplies => "reply",
        Route::Event { .. } => "event",
        Route::Quarantine { .. } => "quarantine",
    }
}

/// Formats an expiry for AMQP: whole milliseconds as text. Zero would mean "drop the message unless
/// it can be delivered at once", and the broker reads at most 32 bits.
fn milliseconds(expiry: Duration) -> String {
    expiry.as_millis().clamp(1, u32::MAX.into()).to_string()
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Settings;

    fn message(route: Route) -> Message {
        Message {
            route,
            id: "é".repeat(200),
            content_type: saga_messaging::parcel::BATCH,
            body: Bytes::from_static(b"[]"),
            expiry: Some(Duration::ZERO),
            reply_to: None,
            redelivered: true,
        }
    }

    fn topology() -> Topology {
        Topology::new(&Settings::new("amqp://host", "test")).expect("short names")
    }

    #[test]
    fn a_command_says_where_its_answer_goes() {
        let command = message(Route::Command { participant: "stock".into() });
        let outgoing = lay_out(&command, &topology(), "test", 7).expect("short enough");
        let properties = &outgoing.properties;
        assert_eq!(properties.reply_to().as_ref().expect("filled in").as_str(), "orchestrator");
        assert_eq!(properties.expiration().as_ref().expect("given").as_str(), "1");
        assert!(properties.message_id().as_ref().expect("given").as_str().len() <= MAX_TEXT_BYTES);
        assert_eq!(publish_id(properties), Some(7));
        assert!(outgoing.mandatory);
    }

    #[test]
    fn a_reply_key_that_no_queue_can_have_is_not_even_sent() {
        let reply = message(Route::Reply { to: "x".repeat(256), from: "stock".into() });
        assert!(lay_out(&reply, &topology(), "test", 7).is_none());
    }

    #[test]
    fn an_event_need_not_arrive_anywhere() {
        let event = message(Route::Event { key: "order.confirmed".into() });
        assert!(!lay_out(&event, &topology(), "test", 7).expect("short enough").mandatory);
    }
}
