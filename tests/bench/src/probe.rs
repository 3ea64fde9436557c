//! Measures the capacity of the broker alone, for `saga-bench`. The messages have the numbers, the
//! sizes and the kinds of queues of a real system, with confirms and acknowledgements, but nobody
//! decides anything on them.
//!
//! It is not a second transport: it gives up at the first error, and the messages mean nothing.

mod flood;
#[cfg(test)]
mod rabbitmq;
mod tap;

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind, PublisherConfirm,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{FieldTable, ShortString},
};

pub(crate) use flood::{Flood, Flow};
pub(crate) use tap::{EventConsumer, Tap, Tapped};

use saga_rabbitmq::quorum;

/// Time limit for closing a connection.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// `delivery_mode` of messages that must survive a restart of the broker.
const PERSISTENT: u8 = 2;

/// A failure of the broker.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProbeError {
    /// Any error of the protocol or the connection.
    #[error("the broker: {0}")]
    Broker(#[from] lapin::Error),
    /// The broker closed a queue's consumer.
    #[error("the broker ended a consumer")]
    Ended,
    /// A message came back or was refused.
    #[error("the broker did not take a message")]
    NotTaken,
}

/// Measures a broker. It has two connections, one for publishing and one for consuming, as each
/// role has.
#[derive(Clone)]
pub(crate) struct Probe {
    url: String,
    prefix: String,
}

/// A probe's connections for one measurement. They are closed after it, and whatever still happens
/// on them ends.
struct Session {
    publishing: Connection,
    consuming: Connection,
}

impl std::fmt::Debug for Probe {
    /// The URL is left out: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// The destination of a probe's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A queue like those of commands and replies, with a consumer.
    Queue,
    /// A topic exchange without any queue.
    Nowhere,
}

impl Probe {
    /// Creates a probe of the broker at a URL. The names of its exchanges and queues begin with the
    /// prefix, and it deletes them again.
    pub(crate) fn new(url: &str, prefix: &str) -> Self {
        Self { url: url.to_owned(), prefix: format!("{prefix}probe.") }
    }

    async fn session(&self) -> Result<Session, ProbeError> {
        Ok(Session {
            publishing: connect(&self.url, "saga-bench (publish)").await?,
            consuming: connect(&self.url, "saga-bench (consume)").await?,
        })
    }

    /// Measures the times from publishing a message to its delivery, repeatedly, one message at a
    /// time.
    pub(crate) async fn hops(
        &self,
        bytes: usize,
        count: usize,
    ) -> Result<Vec<Duration>, ProbeError> {
        let session = self.session().await?;
        let publisher = confirming(&session.publishing).await?;
        let road = Road::make(&publisher, format!("{}hop", self.prefix), Way::Queue).await?;
        let consumer = session.consuming.create_channel().await?;
        let mut deliveries = consume(&consumer, &road.queue, 10).await?;
        let body = vec![b'x'; bytes];
        let mut took = Vec::with_capacity(count);
        for _ in 0..count {
            let began = Instant::now();
            let confirm = road.publish(&publisher, &body).await?;
            let delivery = deliveries.next().await.ok_or(ProbeError::Ended)??;
            took.push(began.elapsed());
            taken(confirm).await?;
            delivery.ack(BasicAckOptions::default()).await?;
        }
        road.delete(&publisher).await?;
        session.close().await;
        Ok(took)
    }

    /// Measures the times from publishing an event to its confirm, one event at a time.
    pub(crate) async fn confirms(
        &self,
        way: Way,
        bytes: usize,
        count: usize,
    ) -> Result<Vec<Duration>, ProbeError> {
        let session = self.session().await?;
        let publisher = confirming(&session.publishing).await?;
        let road = Road::make(&publisher, format!("{}confirm", self.prefix), way).await?;
        let body = vec![b'x'; bytes];
        let mut took = Vec::with_capacity(count);
        for _ in 0..count {
            let began = Instant::now();
            taken(road.publish(&publisher, &body).await?).await?;
            took.push(began.elapsed());
        }
        road.delete(&publisher).await?;
        session.close().await;
        Ok(took)
    }
}

impl Session {
    /// Closes the consumers first: they need not notice that the queues are deleted.
    async fn close(self) {
        close(&self.consuming).await;
        close(&self.publishing).await;
    }
}

/// An exchange, and a queue behind it unless the way is [`Way::Nowhere`].
#[derive(Clone, Debug)]
struct Road {
    way: Way,
    exchange: ShortString,
    queue: ShortString,
}

impl Road {
    async fn make(channel: &Channel, name: String, way: Way) -> Result<Self, ProbeError> {
        let road =
            Self { way, exchange: name.as_str().into(), queue: format!("{name}.queue").into() };
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        channel
            .exchange_declare(
                road.exchange.clone(),
                ExchangeKind::Topic,
                options,
                FieldTable::default(),
            )
            .await?;
        if way == Way::Queue {
            let options = QueueDeclareOptions { durable: true, ..Default::default() };
            channel.queue_declare(road.queue.clone(), options, quorum()).await?;
            let bound = QueueBindOptions::default();
            channel
                .queue_bind(
                    road.queue.clone(),
                    road.exchange.clone(),
                    "#".into(),
                    bound,
                    FieldTable::default(),
                )
                .await?;
        }
        Ok(road)
    }

    async fn delete(&self, channel: &Channel) -> Result<(), ProbeError> {
        if self.way == Way::Queue {
            channel.queue_delete(self.queue.clone(), QueueDeleteOptions::default()).await?;
        }
        channel.exchange_delete(self.exchange.clone(), ExchangeDeleteOptions::default()).await?;
        Ok(())
    }

    async fn publish(
        &self,
        channel: &Channel,
        body: &[u8],
    ) -> Result<PublisherConfirm, ProbeError> {
        let options =
            BasicPublishOptions { mandatory: self.way == Way::Queue, ..Default::default() };
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_content_type("application/cloudevents-batch+json".into())
            .with_message_id("0199aaaa-bbbb-7ccc-8ddd-eeeeffff0000/reserve-stock/action".into())
            .with_app_id("saga-bench".into());
        let (exchange, key) = (self.exchange.clone(), "order.placed".into());
        Ok(channel.basic_publish(exchange, key, options, body, properties).await?)
    }
}

async fn connect(url: &str, name: &str) -> Result<Connection, ProbeError> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    Ok(Box::pin(Connection::connect(url, properties)).await?)
}

/// Closes a connection. An error changes nothing, because the connection is not used any more.
async fn close(connection: &Connection) {
    let _ = tokio::time::timeout(CLOSE_LIMIT, connection.close(200, "bye".into())).await;
}

async fn confirming(connection: &Connection) -> Result<Channel, ProbeError> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

async fn consume(
    channel: &Channel,
    queue: &ShortString,
    prefetch: u16,
) -> Result<lapin::Consumer, ProbeError> {
    channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    Ok(channel.basic_consume(queue.clone(), "".into(), options, FieldTable::default()).await?)
}

/// Waits until the broker has a message. A returned message was not taken, though the broker
/// confirms it.
async fn taken(confirm: PublisherConfirm) -> Result<(), ProbeError> {
    match confirm.await? {
        lapin::Confirmation::Ack(None) => Ok(()),
        lapin::Confirmation::Ack(Some(_))
        | lapin::Confirmation::Nack(_)
        | lapin::Confirmation::NotRequested => Err(ProbeError::NotTaken),
    }
}
