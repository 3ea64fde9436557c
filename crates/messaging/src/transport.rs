//! The port that moves messages.

use std::{collections::BTreeMap, future::Future, time::Duration};

use bytes::Bytes;
use saga_core::SagaId;
use tokio::sync::{broadcast, mpsc};

/// A message broker, or something that behaves like one.
///
/// At least once, in no promised order, across any failure: an adapter hides
/// reconnecting, and what it had delivered without an acknowledgement comes again.
pub trait Transport: Clone + Send + Sync + 'static {
    /// Publishes messages and waits until each of them is confirmed and, where
    /// it must reach a queue, has reached one.
    ///
    /// # Errors
    /// If any is not known to have arrived. Publishing again is always safe.
    fn publish(
        &self,
        messages: Vec<Message>,
    ) -> impl Future<Output = Result<(), PublishError>> + Send;

    /// Consumes a queue for as long as the consumer lives, through any number of
    /// reconnections. At most `prefetch` deliveries are out without an acknowledgement.
    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer;

    /// Tells every orchestrator which sagas have changed. May be lost.
    fn announce(&self, changed: Vec<Changed>);

    /// What is announced, by anybody. May have gaps.
    fn changes(&self) -> broadcast::Receiver<Vec<Changed>>;

    /// The messaging system's name in traces.
    const SYSTEM: &'static str = "in_process";

    /// Where a message goes, as traces call it: exchange and routing key.
    fn destination(&self, route: &Route) -> String {
        match route {
            Route::Command { participant } => format!("saga.commands:{participant}"),
            Route::Reply { to } => format!("saga.replies:{to}"),
            Route::Event { key } => format!("shop.events:{key}"),
            Route::Quarantine { .. } => "saga.quarantine".to_owned(),
        }
    }

    /// Where a queue's messages come from, as traces call it: the queue.
    fn source(&self, queue: &Queue) -> String {
        match queue {
            Queue::Commands { participant } => format!("saga.commands.{participant}"),
            Queue::Replies => "saga.replies".to_owned(),
            Queue::Quarantine => "saga.quarantine".to_owned(),
        }
    }
}

/// Header of a quarantined message: why it is there.
pub const REASON_HEADER: &str = "saga-reason";
/// Header of a quarantined message: the queue that it came from.
pub const FROM_HEADER: &str = "saga-from";

/// A saga's version, for those who wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The saga.
    pub saga: SagaId,
    /// Its version after the change.
    pub version: u64,
}

/// A queue that a role consumes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// A participant's commands, shared by its replicas.
    Commands {
        /// Name of the participant.
        participant: String,
    },
    /// The replies, shared by a deployment of orchestrators.
    Replies,
    /// Poison, and what exceeded its delivery limit or its expiry.
    Quarantine,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// To a participant's queue. Must arrive.
    Command {
        /// Name of the participant.
        participant: String,
    },
    /// To whoever asked. Must arrive.
    Reply {
        /// The command's `reply_to`.
        to: String,
    },
    /// To whoever listens.
    Event {
        /// For example `order.confirmed`.
        key: String,
    },
    /// To the quarantine. Must arrive.
    Quarantine {
        /// Why.
        reason: String,
        /// The queue that it came from.
        from: Queue,
    },
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub route: Route,
    /// For people and for deduplication: a parcel's first command id.
    pub id: String,
    /// [`crate::parcel::BATCH`] or [`crate::parcel::SINGLE`].
    pub content_type: &'static str,
    /// The parcel.
    pub body: Bytes,
    /// How long it may stay in its queue.
    pub expiry: Option<Duration>,
    /// Where the answer goes. The adapter fills it in for commands when `None`.
    pub reply_to: Option<String>,
    /// Whether it stands for a message that may have been handled before.
    pub redelivered: bool,
}

/// Why messages are not known to have arrived.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The broker is away or silent. All may or may not have arrived: publish
    /// all again once it is back.
    #[error("the broker does not answer: {0}")]
    Unavailable(String),
    /// The broker answered and did not take some of them.
    #[error("{} of the messages were not taken, the first because it was {:?}", .0.len(), .0.first().map(|r| r.1))]
    Refused(Vec<(usize, Refused)>),
}

/// Why the broker did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No queue is bound for it.
    Unroutable,
    /// The broker said no: a queue is full or unavailable.
    Nacked,
}

/// A message that was delivered. It comes again unless it is acknowledged.
#[derive(Debug)]
pub struct Delivery {
    /// The body.
    pub body: Bytes,
    /// Content type, where there was one.
    pub content_type: Option<String>,
    /// Whether it, or what it stands for, may have been delivered before.
    pub redelivered: bool,
    /// Where its sender wants the answer.
    pub reply_to: Option<String>,
    /// The message's id, where there was one.
    pub message_id: Option<String>,
    /// In the quarantine: how it came there.
    pub death: Option<Death>,
    /// Other headers that are text, in the quarantine the reason among them.
    pub headers: BTreeMap<String, String>,
    /// How to acknowledge it.
    pub ack: Ack,
}

/// How a message came to the quarantine by the broker's own doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The queue that gave it up.
    pub queue: String,
    /// `expired`, `delivery_limit`, `rejected` or `maxlen`.
    pub reason: String,
}

/// Acknowledges one delivery. Dropped unused, the delivery stays out until its
/// connection ends, and then comes again.
#[derive(Debug)]
#[must_use = "a delivery that is not acknowledged comes again"]
pub struct Ack {
    tag: u64,
    to: mpsc::UnboundedSender<u64>,
}

impl Ack {
    /// For adapters: `tag` is sent through `to` once the delivery is acknowledged.
    pub fn new(tag: u64, to: mpsc::UnboundedSender<u64>) -> Self {
        Self { tag, to }
    }

    /// The message is dealt with. If its connection has ended meanwhile this
    /// does nothing, and it comes again.
    pub fn ack(self) {
        let _ = self.to.send(self.tag);
    }
}

/// A queue being consumed. Dropping it ends the consumption: what was not
/// acknowledged goes to others.
#[derive(Debug)]
pub struct Consumer {
    deliveries: mpsc::Receiver<Delivery>,
}

impl Consumer {
    /// For adapters.
    #[must_use]
    pub fn new(deliveries: mpsc::Receiver<Delivery>) -> Self {
        Self { deliveries }
    }

    /// Waits for one delivery, then takes whatever else has arrived, up to `max`.
    /// Empty when the transport has been closed for good.
    pub async fn next(&mut self, max: usize) -> Vec<Delivery> {
        let mut batch = Vec::new();
        self.deliveries.recv_many(&mut batch, max).await;
        batch
    }
}
