//! A stranger at the broker: publishes whatever it likes, and looks into queues.

use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicPublishOptions, QueueDeclareOptions},
    types::FieldTable,
};

/// A message as a stranger makes it.
#[derive(Clone, Debug, Default)]
pub struct RawMessage {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub key: String,
    /// The body.
    pub body: Vec<u8>,
    /// `reply_to`, if any.
    pub reply_to: Option<String>,
    /// `message_id`, if any.
    pub message_id: Option<String>,
    /// Whether it survives the broker.
    pub persistent: bool,
}

/// Publishes messages over a connection of its own.
///
/// # Errors
/// If the broker does not take them.
pub async fn publish(url: &str, messages: &[RawMessage]) -> anyhow::Result<()> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    for message in messages {
        let mut properties =
            BasicProperties::default().with_delivery_mode(if message.persistent { 2 } else { 1 });
        if let Some(reply_to) = &message.reply_to {
            properties = properties.with_reply_to(reply_to.as_str().into());
        }
        if let Some(id) = &message.message_id {
            properties = properties.with_message_id(id.as_str().into());
        }
        channel
            .basic_publish(
                message.exchange.as_str().into(),
                message.key.as_str().into(),
                BasicPublishOptions::default(),
                &message.body,
                properties,
            )
            .await?
            .await?;
    }
    connection.close(200, "done".into()).await?;
    Ok(())
}

/// How many messages wait in a queue.
///
/// # Errors
/// If there is no such queue.
pub async fn waiting(url: &str, queue: &str) -> anyhow::Result<u32> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let count =
        channel.queue_declare(queue.into(), passive, FieldTable::default()).await?.message_count();
    connection.close(200, "done".into()).await?;
    Ok(count)
}
