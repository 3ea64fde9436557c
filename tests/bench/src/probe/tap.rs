//! Counts the messages that a running system sends, and their sizes. Each tap is one more queue,
//! which costs the broker: remove it before measuring anything else.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use futures::StreamExt as _;
use lapin::{
    Connection,
    options::{BasicAckOptions, QueueBindOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};
use tokio::task::JoinHandle;

use saga_rabbitmq::{Settings, Topology, quorum};

use super::{ProbeError, close, connect, consume};

/// Prefetch of a tap's consumer, which acknowledges each message as it comes.
const PREFETCH: u16 = 1_000;
/// Each member of a parcel, and each event, contains this once (CloudEvents' required attribute).
const MEMBER: &[u8] = b"\"specversion\"";

/// The traffic of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tapped {
    /// Messages.
    pub(crate) messages: u64,
    /// Bytes of their bodies.
    pub(crate) bytes: u64,
    /// Commands, replies or events in them.
    pub(crate) members: u64,
}

/// A tap: it gets a copy of all commands, replies and events of a system.
#[derive(Debug)]
pub(crate) struct Tap {
    connection: Connection,
    counts: [Arc<Counts>; 3],
}

#[derive(Debug, Default)]
struct Counts {
    messages: AtomicU64,
    bytes: AtomicU64,
    members: AtomicU64,
}

impl Tap {
    /// Begins to count.
    pub(crate) async fn open(settings: &Settings) -> Result<Self, ProbeError> {
        let topology = Topology::new(settings).map_err(|_| ProbeError::NotTaken)?;
        let connection = connect(&settings.url, "saga-bench (tap)").await?;
        let tap = Self { connection, counts: Default::default() };
        let [commands, replies, events] = tap.counts.clone();
        tap.bind(&topology.commands(), &settings.participants, commands).await?;
        tap.bind(&topology.replies(), std::slice::from_ref(&settings.deployment), replies).await?;
        tap.bind(&topology.events(), &["#".to_owned()], events).await?;
        Ok(tap)
    }

    /// Returns the counts of commands, replies and events so far.
    pub(crate) fn counts(&self) -> [Tapped; 3] {
        self.counts.each_ref().map(|counts| Tapped {
            messages: counts.messages.load(Relaxed),
            bytes: counts.bytes.load(Relaxed),
            members: counts.members.load(Relaxed),
        })
    }

    /// Ends the tap; its queues end with its connection.
    pub(crate) async fn close(self) {
        close(&self.connection).await;
    }

    async fn bind(
        &self,
        exchange: &str,
        keys: &[String],
        counts: Arc<Counts>,
    ) -> Result<(), ProbeError> {
        let channel = self.connection.create_channel().await?;
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let queue: ShortString = queue.name().clone();
        for key in keys {
            let (exchange, key) = (exchange.into(), key.as_str().into());
            let options = QueueBindOptions::default();
            channel
                .queue_bind(queue.clone(), exchange, key, options, FieldTable::default())
                .await?;
        }
        let mut deliveries = consume(&channel, &queue, PREFETCH).await?;
        tokio::spawn(async move {
            // The channel ends when its last clone is dropped.
            let _channel = channel;
            while let Some(Ok(delivery)) = deliveries.next().await {
                counts.messages.fetch_add(1, Relaxed);
                counts.bytes.fetch_add(delivery.data.len() as u64, Relaxed);
                counts.members.fetch_add(members(&delivery.data), Relaxed);
                if delivery.ack(BasicAckOptions::default()).await.is_err() {
                    break;
                }
            }
        });
        Ok(())
    }
}

fn members(body: &[u8]) -> u64 {
    body.windows(MEMBER.len()).filter(|window| *window == MEMBER).count() as u64
}

/// Consumes and acknowledges every event from a durable quorum queue, like a shop's other systems.
#[derive(Debug)]
pub(crate) struct EventConsumer {
    connection: Connection,
    queue: String,
    received: Arc<AtomicU64>,
    consuming: JoinHandle<()>,
}

impl EventConsumer {
    /// Binds the queue and begins to consume.
    pub(crate) async fn start(settings: &Settings) -> Result<Self, ProbeError> {
        let topology = Topology::new(settings).map_err(|_| ProbeError::NotTaken)?;
        let connection = connect(&settings.url, "saga-bench (event consumer)").await?;
        let channel = connection.create_channel().await?;
        let queue = format!("{}saga.bench.events", settings.prefix);
        let options = QueueDeclareOptions { durable: true, ..Default::default() };
        channel.queue_declare(queue.as_str().into(), options, quorum()).await?;
        let (exchange, bound) = (topology.events(), QueueBindOptions::default());
        let name = ShortString::from(queue.as_str());
        channel
            .queue_bind(
                name.clone(),
                exchange.as_str().into(),
                "#".into(),
                bound,
                FieldTable::default(),
            )
            .await?;
        let mut deliveries = consume(&channel, &name, PREFETCH).await?;
        let received = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&received);
        let consuming = tokio::spawn(async move {
            let _channel = channel;
            while let Some(Ok(delivery)) = deliveries.next().await {
                count.fetch_add(1, Relaxed);
                if delivery.ack(BasicAckOptions::default()).await.is_err() {
                    break;
                }
            }
        });
        Ok(Self { connection, queue, received, consuming })
    }

    /// Returns the number of events received so far.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Ends the consumer and deletes its queue: a queue without a consumer would grow for ever.
    pub(crate) async fn stop(self) -> Result<(), ProbeError> {
        let channel = self.connection.create_channel().await?;
        channel.queue_delete(self.queue.as_str().into(), Default::default()).await?;
        self.consuming.abort();
        close(&self.connection).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_has_as_many_members_as_it_says_their_version() {
        let parcel = br#"[{"specversion":"1.0","id":"a"},{"specversion":"1.0","id":"b"}]"#;
        assert_eq!(members(parcel), 2);
        assert_eq!(members(b"{\"specversion\":\"1.0\"}"), 1);
        assert_eq!(members(b""), 0);
    }
}
