//! The port that moves messages.

use std::{collections::BTreeMap, future::Future, time::Duration};

use bytes::Bytes;
use saga_core::SagaId;
use tokio::sync::{broadcast, mpsc};

use crate::{Poison, parcel};

/// A message broker, or something that behaves like one.
///
/// Delivery is at least once, in no promised order, across any failure. An adapter hides
/// reconnecting; deliveries without an acknowledgement come again.
pub trait Transport: Clone + Send + Sync + 'static {
    /// Publishes messages and waits until each is confirmed. A message that must reach a queue has
    /// then reached one.
    ///
    /// # Errors
    /// If any message is not known to have arrived. Publishing all again is always safe.
    fn publish(
        &self,
        messages: Vec<Message>,
    ) -> impl Future<Output = Result<(), PublishError>> + Send;

    /// Consumes a queue for as long as the consumer lives, through any number of
    /// reconnections. At most `prefetch` deliveries are out without an acknowledgement.
    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer;

    /// Announces changed sagas to every orchestrator. The message may be lost.
    fn announce(&self, changed: Vec<Changed>);

    /// Receives the announcements of all processes. There may be gaps.
    fn changes(&self) -> broadcast::Receiver<Vec<Changed>>;

    /// The messaging system's name in traces.
    const SYSTEM: &'static str = "in_process";

    /// A message's destination as traces name it: exchange and routing key.
    fn destination(&self, route: &Route) -> String {
        match route {
            Route::Command { participant } => format!("saga.commands:{participant}"),
            Route::Reply { to } => format!("saga.replies:{to}"),
            Route::Event { key } => format!("saga.events:{key}"),
            Route::Quarantine { .. } => "saga.quarantine".to_owned(),
        }
    }

    /// The source of a queue's messages as traces name it: the queue.
    fn source(&self, queue: &Queue) -> String {
        match queue {
            Queue::Commands { participant } => format!("saga.commands.{participant}"),
            Queue::Replies => "saga.replies".to_owned(),
            Queue::Quarantine => "saga.quarantine".to_owned(),
        }
    }
}

/// Header of a quarantined message: the reason why it is there.
pub const REASON_HEADER: &str = "saga-reason";
/// Header of a quarantined message: the queue that it came from.
pub const FROM_HEADER: &str = "saga-from";
/// Header of a delivery that did not come as it was sent, because no client could have read it so: the
/// reason. Its receiver must not act on it. An adapter sets it; whoever publishes it only asks for
/// his message to be refused.
pub const MALFORMED_HEADER: &str = "saga-malformed";

/// A saga's version, for waiters.
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
    /// Poison, and messages that exceeded their delivery limit or their expiry.
    Quarantine,
}

/// The route of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// To a participant's queue. Must arrive.
    Command {
        /// Name of the participant.
        participant: String,
    },
    /// To the deployment that sent the command. Must arrive.
    Reply {
        /// The command's `reply_to`.
        to: String,
    },
    /// To anybody who listens.
    Event {
        /// For example `hotel.booked`.
        key: String,
    },
    /// To the quarantine. Must arrive.
    Quarantine {
        /// The reason.
        reason: String,
        /// The queue that it came from.
        from: Queue,
    },
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The route.
    pub route: Route,
    /// For people and for deduplication: the id of a parcel's first command.
    pub id: String,
    /// [`crate::parcel::BATCH`] or [`crate::parcel::SINGLE`].
    pub content_type: &'static str,
    /// The parcel.
    pub body: Bytes,
    /// Time limit for its stay in the queue.
    pub expiry: Option<Duration>,
    /// Address of the reply. For commands the adapter fills it in when it is `None`.
    pub reply_to: Option<String>,
    /// True if it stands for a message that may have been handled before.
    pub redelivered: bool,
}

impl Message {
    /// A parcel without an expiry. The adapter fills in the address of its reply.
    pub fn parcel(route: Route, id: String, body: impl Into<Bytes>) -> Self {
        Self {
            route,
            id,
            content_type: parcel::BATCH,
            body: body.into(),
            expiry: None,
            reply_to: None,
            redelivered: false,
        }
    }

    /// A single domain event.
    pub fn event(key: String, id: String, body: impl Into<Bytes>) -> Self {
        let route = Route::Event { key };
        Self { content_type: parcel::SINGLE, ..Self::parcel(route, id, body) }
    }
}

/// The reason why messages are not known to have arrived.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The broker is away or silent. Each message may or may not have arrived: publish all again
    /// once it is back.
    #[error("the broker does not answer: {0}")]
    Unavailable(String),
    /// The broker answered, and did not take some of them.
    #[error("{} of the messages were not taken, the first because it was {:?}", .0.len(), .0.first().map(|r| r.1))]
    Refused(Vec<(usize, Refused)>),
}

/// The reason why the broker did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No queue is bound for it.
    Unroutable,
    /// The broker refused it: a queue is full or unavailable.
    Nacked,
}

/// A message that was delivered. It comes again unless it is acknowledged.
#[derive(Debug)]
pub struct Delivery {
    /// The body.
    pub body: Bytes,
    /// Content type, if the message has one.
    pub content_type: Option<String>,
    /// True if it, or the message that it stands for, may have been delivered before.
    pub redelivered: bool,
    /// The address to which its sender wants the reply.
    pub reply_to: Option<String>,
    /// The message's id, if it has one.
    pub message_id: Option<String>,
    /// In the quarantine: the way it came there.
    pub death: Option<Death>,
    /// The other headers that are text. In the quarantine they include the reason.
    pub headers: BTreeMap<String, String>,
    /// Acknowledges it.
    pub ack: Ack,
}

impl Delivery {
    /// Reads its parcel. One that did not come as it was sent is poison, whatever it looks like.
    ///
    /// # Errors
    /// As [`parcel::read`].
    pub fn open(&self) -> Result<Vec<parcel::Member>, Poison> {
        match self.headers.get(MALFORMED_HEADER) {
            Some(reason) => Err(Poison::new(format!("malformed: {reason}"))),
            None => parcel::read(&self.body),
        }
    }
}

/// The record of a message that the broker itself moved to the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Death {
    /// The queue that gave it up.
    pub queue: String,
    /// `expired`, `delivery_limit`, `rejected` or `maxlen`.
    pub reason: String,
}

/// Acknowledges one delivery. If it is dropped unused, the delivery stays out until its connection
/// ends, and then comes again.
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

    /// Marks the message as handled. If its connection has ended meanwhile, this does nothing and
    /// the message comes again.
    pub fn ack(self) {
        let _ = self.to.send(self.tag);
    }
}

/// The consumer of a queue. Dropping it ends the consumption: unacknowledged messages go to other
/// consumers.
#[derive(Debug)]
pub struct Consumer {
    deliveries: mpsc::Receiver<Delivery>,
}

impl Consumer {
    /// For adapters: a consumer of these deliveries.
    #[must_use]
    pub fn new(deliveries: mpsc::Receiver<Delivery>) -> Self {
        Self { deliveries }
    }

    /// Waits for one delivery, then takes the others that have arrived, up to `max` in all. Empty
    /// when the transport has been closed for good.
    pub async fn next(&mut self, max: usize) -> Vec<Delivery> {
        let mut batch = Vec::new();
        self.deliveries.recv_many(&mut batch, max).await;
        batch
    }
}
