//! A foreign client of the broker: publishes arbitrary messages, and inspects queues.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

pub use lapin::ExchangeKind;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
        QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};

/// A message of a foreign client.
#[derive(Clone, Debug, Default)]
pub struct RawMessage {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub key: String,
    /// The body.
    pub body: Vec<u8>,
    /// The property `reply_to`, if the message has one.
    pub reply_to: Option<String>,
    /// The property `message_id`, if the message has one.
    pub message_id: Option<String>,
    /// True if the message survives a restart of the broker.
    pub persistent: bool,
    /// The property `content_type`, if the message has one.
    pub content_type: Option<String>,
    /// The property `expiration`, if the message has one.
    pub expiration: Option<String>,
    /// The property `app_id`, if the message has one.
    pub app_id: Option<String>,
    /// The headers. Published headers are text; headers of another type are converted to text when
    /// they are received.
    pub headers: BTreeMap<String, String>,
}

/// Publishes messages over a new connection.
///
/// # Errors
/// If the broker does not confirm them.
pub async fn publish(url: &str, messages: &[RawMessage]) -> anyhow::Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    for message in messages {
        let properties = properties(message);
        let confirmation = channel
            .basic_publish(
                message.exchange.as_str().into(),
                message.key.as_str().into(),
                BasicPublishOptions::default(),
                &message.body,
                properties,
            )
            .await?
            .await?;
        anyhow::ensure!(!confirmation.is_nack(), "the broker does not take {message:?}");
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

fn properties(message: &RawMessage) -> BasicProperties {
    let mut properties =
        BasicProperties::default().with_delivery_mode(if message.persistent { 2 } else { 1 });
    if let Some(reply_to) = &message.reply_to {
        properties = properties.with_reply_to(reply_to.as_str().into());
    }
    if let Some(id) = &message.message_id {
        properties = properties.with_message_id(id.as_str().into());
    }
    if let Some(kind) = &message.content_type {
        properties = properties.with_content_type(kind.as_str().into());
    }
    if let Some(expiration) = &message.expiration {
        properties = properties.with_expiration(expiration.as_str().into());
    }
    if let Some(app) = &message.app_id {
        properties = properties.with_app_id(app.as_str().into());
    }
    if !message.headers.is_empty() {
        let mut table = FieldTable::default();
        for (name, value) in &message.headers {
            table.insert(name.as_str().into(), AMQPValue::LongString(value.as_str().into()));
        }
        properties = properties.with_headers(table);
    }
    properties
}

/// Converts a header's value to text.
fn as_text(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => text.to_string(),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::Boolean(set) => set.to_string(),
        other => format!("{other:?}"),
    }
}

/// Returns the number of messages that wait in a queue.
///
/// # Errors
/// If the queue does not exist.
pub async fn waiting(url: &str, queue: &str) -> anyhow::Result<u32> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let count =
        channel.queue_declare(queue.into(), passive, FieldTable::default()).await?.message_count();
    connection.close(200, "done".into()).await?;
    Ok(count)
}

/// Returns true if a durable queue has exactly these arguments. It declares the queue again, which
/// the broker refuses if the arguments differ. An argument that parses as a number is sent as a
/// number.
///
/// # Errors
/// If the broker is unavailable, or the queue does not exist.
pub async fn queue_has(url: &str, queue: &str, arguments: &[(&str, &str)]) -> anyhow::Result<bool> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    // A passive declaration first: a missing queue must not be created.
    let looking = connection.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    looking.queue_declare(queue.into(), passive, FieldTable::default()).await?;
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value.parse() {
            Ok(number) => AMQPValue::LongLongInt(number),
            Err(_) => AMQPValue::LongString((*value).into()),
        };
        table.insert((*name).into(), value);
    }
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let declared = looking.queue_declare(queue.into(), durable, table).await;
    connection.close(200, "done".into()).await?;
    Ok(declared.is_ok())
}

/// Returns true if an exchange has this kind and durability.
///
/// # Errors
/// If the broker is unavailable, or the exchange does not exist.
pub async fn exchange_is(
    url: &str,
    exchange: &str,
    kind: ExchangeKind,
    durable: bool,
) -> anyhow::Result<bool> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let (passive, none) = (
        ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() },
        FieldTable::default(),
    );
    channel.exchange_declare(exchange.into(), kind.clone(), passive, none.clone()).await?;
    let options = ExchangeDeclareOptions { durable, ..ExchangeDeclareOptions::default() };
    let declared = channel.exchange_declare(exchange.into(), kind, options, none).await;
    connection.close(200, "done".into()).await?;
    Ok(declared.is_ok())
}

/// A foreign event consumer. Its queue ends when it is dropped.
#[derive(Debug)]
pub struct Listener {
    /// The connection. Dropping it deletes the queue.
    _connection: Connection,
    channel: Channel,
    queue: ShortString,
}

impl Listener {
    /// Creates a queue and binds it to an exchange, under each of these keys.
    ///
    /// # Errors
    /// If the exchange does not exist.
    pub async fn bind(url: &str, exchange: &str, keys: &[&str]) -> anyhow::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let own = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), own, FieldTable::default()).await?;
        let queue = queue.name().clone();
        for key in keys {
            let (exchange, key) = (exchange.into(), (*key).into());
            let options = QueueBindOptions::default();
            let arguments = FieldTable::default();
            channel.queue_bind(queue.clone(), exchange, key, options, arguments).await?;
        }
        Ok(Self { _connection: connection, channel, queue })
    }

    /// Takes the oldest message that has arrived, if there is one.
    ///
    /// # Errors
    /// If the broker is unavailable.
    pub async fn take(&self) -> anyhow::Result<Option<RawMessage>> {
        let options = BasicGetOptions { no_ack: true };
        let Some(taken) = self.channel.basic_get(self.queue.clone(), options).await? else {
            return Ok(None);
        };
        let text = |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().to_owned());
        Ok(Some(RawMessage {
            exchange: taken.exchange.as_str().to_owned(),
            key: taken.routing_key.as_str().to_owned(),
            reply_to: text(taken.properties.reply_to()),
            message_id: text(taken.properties.message_id()),
            persistent: *taken.properties.delivery_mode() == Some(2),
            content_type: text(taken.properties.content_type()),
            expiration: text(taken.properties.expiration()),
            app_id: text(taken.properties.app_id()),
            headers: taken
                .properties
                .headers()
                .iter()
                .flat_map(|table| table.inner())
                .map(|(name, value)| (name.to_string(), as_text(value)))
                .collect(),
            body: taken.delivery.data,
        }))
    }
}

impl Listener {
    /// Takes every message as it arrives and puts it into `taken`, until the broker is unavailable.
    pub fn collect(self, taken: Arc<Mutex<Vec<RawMessage>>>) {
        tokio::spawn(async move {
            loop {
                match self.take().await {
                    Ok(Some(message)) => taken.lock().expect("nobody panics").push(message),
                    Ok(None) => tokio::time::sleep(Duration::from_millis(10)).await,
                    Err(_) => return,
                }
            }
        });
    }
}

/// Deletes a queue, even while it is consumed.
///
/// # Errors
/// If the broker does not delete it.
pub async fn delete_queue(url: &str, queue: &str) -> anyhow::Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.queue_delete(queue.into(), lapin::options::QueueDeleteOptions::default()).await?;
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// Removes all messages that wait in a queue.
///
/// # Errors
/// If the queue does not exist.
pub async fn purge(url: &str, queue: &str) -> anyhow::Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.queue_purge(queue.into(), lapin::options::QueuePurgeOptions::default()).await?;
    connection.close(200, "done".into()).await?;
    Ok(())
}
