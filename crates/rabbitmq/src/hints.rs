//! Hints to all orchestrators that sagas have changed. Every hint may be lost.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, ExchangeKind,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use saga_core::SagaId;
use saga_messaging::Changed;
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Topology,
    error::Failure,
    link::{self, Link, Outages, Purpose, SETUP_LIMIT, within},
};

/// Bytes of an entry: a saga's id and its version, big-endian.
const ENTRY_BYTES: usize = 24;
/// Maximum number of entries in a message, which is then about 96 KiB.
const MAX_ENTRIES: usize = 4_096;
/// Maximum number of messages in an instance's queue. When it is full, the broker drops the oldest
/// hints.
const MAX_QUEUED: i64 = 10_000;
/// Number of announcements that may wait to be published. Further announcements are dropped.
pub(crate) const MAX_WAITING: usize = 1_024;
/// Number of messages that a receiver may fall behind before it misses hints.
pub(crate) const MAX_BEHIND: usize = 1_024;
/// Maximum number of announcements that are joined into one message, when many are waiting.
const MAX_TOGETHER: usize = 64;
/// Time limit for writing. No confirm is awaited, so reaching the limit means that the socket
/// accepts no more bytes.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// The task that exchanges hints. It does nothing until [`Hints::run`] is awaited.
pub(crate) struct Hints {
    pub(crate) link: Arc<Link>,
    pub(crate) topology: Arc<Topology>,
    pub(crate) outgoing: mpsc::Receiver<Vec<Changed>>,
    pub(crate) incoming: broadcast::Sender<Vec<Changed>>,
}

impl Hints {
    /// Exchanges hints until `closing` is cancelled.
    pub(crate) async fn run(mut self, closing: CancellationToken) {
        let mut outages = Outages::new(Purpose::Hints);
        loop {
            let connected = tokio::select! {
                connection = self.link.open(Purpose::Hints) => connection,
                () = closing.cancelled() => return,
            };
            let failure = match connected {
                Ok(connection) => {
                    let end = tokio::select! {
                        end = self.session(&connection, &mut outages) => end,
                        () = closing.cancelled() => Ok(()),
                    };
                    link::close(&connection).await;
                    match end {
                        Ok(()) => return,
                        Err(failure) => failure,
                    }
                }
                Err(failure) => failure,
            };
            if !outages.down(&failure, &closing).await {
                return;
            }
        }
    }

    /// Exchanges hints over one connection. Returns Ok when all senders of announcements are gone.
    async fn session(
        &mut self,
        connection: &Connection,
        outages: &mut Outages,
    ) -> Result<(), Failure> {
        let set_up = set_up(connection, &self.topology);
        let (channel, mut consumer) = within(SETUP_LIMIT, "setting up the hints", set_up).await?;
        outages.up();
        let mut look = tokio::time::interval(link::LOOK_EVERY);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                count = self.outgoing.recv_many(&mut batch, MAX_TOGETHER) => {
                    if count == 0 {
                        return Ok(());
                    }
                    let changed: Vec<Changed> = batch.drain(..).flatten().collect();
                    if !connection.status().blocked() {
                        let sending = send(&channel, &self.topology, &changed);
                        within(WRITE_LIMIT, "sending a hint", sending).await?;
                    }
                }
                next = consumer.next() => {
                    let next = next.ok_or(Failure::Ended("the broker cancelled the hints"))??;
                    if let Some(changed) = decode(&next.data) {
                        // The only error is that there is no receiver, which is fine.
                        let _ = self.incoming.send(changed);
                    }
                }
                _ = look.tick() => if !connection.status().connected() {
                    return Err(Failure::Ended("the connection is gone"));
                },
            }
        }
    }
}

async fn set_up(
    connection: &Connection,
    topology: &Topology,
) -> Result<(Channel, lapin::Consumer), Failure> {
    let channel = connection.create_channel().await?;
    let exchange = topology.hints();
    let declaring = |error| Failure::Declaring { name: exchange.clone(), error };
    let options = ExchangeDeclareOptions::default();
    let none = FieldTable::default;
    channel
        .exchange_declare(exchange.as_str().into(), ExchangeKind::Fanout, options, none())
        .await
        .map_err(declaring)?;
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..Default::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(MAX_QUEUED));
    // The broker chooses the queue's name. Each instance has its own queue, which ends with the
    // connection.
    let queue = channel.queue_declare("".into(), options, arguments).await?;
    let queue = queue.name().clone();
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.clone(), exchange.as_str().into(), "".into(), options, none()).await?;
    let options = BasicConsumeOptions { no_ack: true, ..Default::default() };
    let consumer = channel.basic_consume(queue, "".into(), options, none()).await?;
    Ok((channel, consumer))
}

async fn send(channel: &Channel, topology: &Topology, changed: &[Changed]) -> Result<(), Failure> {
    for entries in changed.chunks(MAX_ENTRIES) {
        let exchange = topology.hints().as_str().into();
        let options = BasicPublishOptions::default();
        let properties = BasicProperties::default();
        // The second future completes at once, because this channel has no confirms.
        let _ = channel
            .basic_publish(exchange, "".into(), options, &encode(entries), properties)
            .await?
            .await?;
    }
    Ok(())
}

fn encode(changed: &[Changed]) -> Vec<u8> {
    let mut body = Vec::with_capacity(changed.len() * ENTRY_BYTES);
    for Changed { saga, version } in changed {
        body.extend_from_slice(saga.0.as_bytes());
        body.extend_from_slice(&version.to_be_bytes());
    }
    body
}

/// Reads the hints in a body. Returns `None` for a body that no adapter has written.
fn decode(body: &[u8]) -> Option<Vec<Changed>> {
    let (entries, rest) = body.as_chunks::<ENTRY_BYTES>();
    if entries.is_empty() || entries.len() > MAX_ENTRIES || !rest.is_empty() {
        return None;
    }
    let entry = |entry: &[u8; ENTRY_BYTES]| {
        let (saga, version) = entry.split_first_chunk().expect("24 bytes have 16");
        let version = version.try_into().expect("and 8 more");
        Changed { saga: SagaId(Uuid::from_bytes(*saga)), version: u64::from_be_bytes(version) }
    };
    Some(entries.iter().map(entry).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(entries in prop::collection::vec(any::<(u128, u64)>(), 1..50)) {
            let changed: Vec<Changed> = entries
                .into_iter()
                .map(|(saga, version)| Changed { saga: SagaId(Uuid::from_u128(saga)), version })
                .collect();
            prop_assert_eq!(decode(&encode(&changed)), Some(changed));
        }

        #[test]
        fn garbage_is_ignored(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let whole = !body.is_empty() && body.len() % ENTRY_BYTES == 0;
            prop_assert_eq!(decode(&body).is_some(), whole);
        }
    }
}
