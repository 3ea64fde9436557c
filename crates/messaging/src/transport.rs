//! The port that moves messages.

use std::{collections::BTreeMap, future::Future, time::Duration};

use bytes::Bytes;
use saga_core::SagaId;
use tokio::sync::{broadcast, mpsc};

use crate::{Poison, Sender, parcel};

/// A message broker, or something that behaves like one.
///
/// Delivery is at least once, and the order is not promised, across any failure. An adapter
/// reconnects by itself, and unacknowledged messages are delivered again.
pub trait Transport: Clone + Send + Sync + 'static {
    /// Publishes messages and waits until each is confirmed. A confirmed message has reached a
    /// queue, if its [`Route`] says that it must.
    ///
    /// # Errors
    /// If the arrival of any message is not confirmed. Publishing all of them again is always safe.
    fn publish(
        &self,
        messages: Vec<Message>,
    ) -> impl Future<Output = Result<(), PublishError>> + Send;

    /// Consumes a queue until the consumer is dropped, through any number of reconnections. The
    /// consumer holds at most `prefetch` unacknowledged deliveries.
    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer;

    /// Announces changed sagas to every orchestrator. The announcement may be lost.
    fn announce(&self, changed: Vec<Changed>);

    /// Receives the announcements of all processes. Some may be missing.
    fn changes(&self) -> broadcast::Receiver<Vec<Changed>>;

    /// Name of the messaging system in traces.
    const SYSTEM: &'static str = "in_process";

    /// Returns a message's destination as traces name it: exchange and routing key.
    fn destination(&self, route: &Route) -> String {
        match route {
            Route::Command { participant } => format!("saga.commands:{participant}"),
            Route::Again { participant } => format!("saga.again.{participant}:{participant}"),
            Route::Reply { to, from } => format!("saga.replies.{from}:{to}"),
            Route::OwnReplies => "saga.replies".to_owned(),
            Route::Event { key } => format!("saga.events:{key}"),
            Route::Quarantine { from, .. } => {
                format!("saga.quarantine.{}", from.consumer())
            }
        }
    }

    /// Returns the source of a queue's messages as traces name it: the queue's name.
    fn source(&self, queue: &Queue) -> String {
        match queue {
            Queue::Commands { participant } => format!("saga.commands.{participant}"),
            Queue::Replies => "saga.replies".to_owned(),
            Queue::Quarantine => "saga.quarantine".to_owned(),
        }
    }
}

/// Header of a quarantined message: the reason why it was quarantined.
pub const REASON_HEADER: &str = "saga-reason";
/// Header of a quarantined message: the queue that it came from.
pub const FROM_HEADER: &str = "saga-from";
/// Header of a delivery that an adapter had to alter because clients could not read the original.
/// The value is the reason. The receiver must treat the delivery as poison. Only adapters set this
/// header; a sender that sets it has its own message rejected.
pub const MALFORMED_HEADER: &str = "saga-malformed";

/// A saga's new version, for callers that wait for the saga to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The saga's id.
    pub saga: SagaId,
    /// The saga's version after the change.
    pub version: u64,
}

/// A queue that the orchestrator or a participant consumes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// A participant's commands. Its replicas share the queue.
    Commands {
        /// Name of the participant.
        participant: String,
    },
    /// The replies to a deployment of orchestrators. The orchestrators share the queue.
    Replies,
    /// Quarantined messages: poison, and messages that exceeded their delivery limit or their
    /// expiry.
    Quarantine,
}

impl Queue {
    /// Returns the name of the party that consumes the queue: the participant, or
    /// [`ORCHESTRATOR`].
    #[must_use]
    pub fn consumer(&self) -> &str {
        match self {
            Self::Commands { participant } => participant,
            Self::Replies | Self::Quarantine => ORCHESTRATOR,
        }
    }
}

/// The orchestrators' name among the senders. No participant may have it.
pub const ORCHESTRATOR: &str = "orchestrator";

/// The route of a message. Only the party that a route names may use it: see [`Sender::by`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// From an orchestrator to a participant's queue. The message must arrive.
    Command {
        /// Name of the participant.
        participant: String,
    },
    /// From a participant back to its own queue: a parcel that is taken apart. The message must
    /// arrive.
    Again {
        /// Name of the participant.
        participant: String,
    },
    /// From a participant to the deployment that sent the command. The message must arrive.
    Reply {
        /// The command's `reply_to`.
        to: String,
        /// Name of the participant.
        from: String,
    },
    /// From an orchestrator back to its own deployment's replies, for another orchestrator. The
    /// message must arrive.
    OwnReplies,
    /// To any subscriber, or to none.
    Event {
        /// Routing key of the event, for example `hotel.booked`.
        key: String,
    },
    /// To the quarantine, from the party that consumes the queue `from`. The message must arrive.
    Quarantine {
        /// The reason why the message is quarantined.
        reason: String,
        /// The queue that the message came from.
        from: Queue,
    },
}

impl Route {
    /// Returns the headers of a message on this route, for transports without a broker's headers.
    /// `name` names a queue.
    #[must_use]
    pub fn headers(&self, name: impl Fn(&Queue) -> String) -> BTreeMap<String, String> {
        match self {
            Self::Quarantine { reason, from } => BTreeMap::from([
                (REASON_HEADER.to_owned(), reason.clone()),
                (FROM_HEADER.to_owned(), name(from)),
            ]),
            Self::Command { .. }
            | Self::Again { .. }
            | Self::Reply { .. }
            | Self::OwnReplies
            | Self::Event { .. } => BTreeMap::new(),
        }
    }
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The route.
    pub route: Route,
    /// Id for people and for deduplication. A parcel has the id of its first command.
    pub id: String,
    /// [`crate::parcel::BATCH`] or [`crate::parcel::SINGLE`].
    pub content_type: &'static str,
    /// The parcel or the single event, as JSON.
    pub body: Bytes,
    /// Longest time that the message may wait in its queue.
    pub expiry: Option<Duration>,
    /// Address for the reply. If it is `None`, the adapter fills it in for commands.
    pub reply_to: Option<String>,
    /// True if the message repeats one that may have been handled before.
    pub redelivered: bool,
}

impl Message {
    /// Creates a message with a parcel and without an expiry. For commands, the adapter fills in
    /// `reply_to`.
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

    /// Creates a message with a single domain event.
    pub fn event(key: String, id: String, body: impl Into<Bytes>) -> Self {
        let route = Route::Event { key };
        Self { content_type: parcel::SINGLE, ..Self::parcel(route, id, body) }
    }
}

/// The reason why messages may not have arrived.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The broker is away or silent. Each message may or may not have arrived: publish all of them
    /// again once the broker is back.
    #[error("the broker does not answer: {0}")]
    Unavailable(String),
    /// The broker answered, and refused some of the messages. Each is named by its index.
    #[error("{} of the messages were not taken, the first because it was {:?}", .0.len(), .0.first().map(|r| r.1))]
    Refused(Vec<(usize, Refused)>),
}

/// The reason why the broker did not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No queue is bound to the message's route.
    Unroutable,
    /// The broker rejected the message, because a queue is full or unavailable.
    Nacked,
}

/// A message that was delivered. It is delivered again unless the consumer acknowledges it.
#[derive(Debug)]
pub struct Delivery {
    /// The party that sent the message.
    pub sender: Sender,
    /// The message's body.
    pub body: Bytes,
    /// Content type, if the message has one.
    pub content_type: Option<String>,
    /// True if this message, or the one that it repeats, may have been delivered before.
    pub redelivered: bool,
    /// The address for the reply, if the sender gave one.
    pub reply_to: Option<String>,
    /// The message's id, if it has one.
    pub message_id: Option<String>,
    /// The reason why the broker quarantined the message. Only deliveries of the quarantine have
    /// one.
    pub death: Option<Death>,
    /// The message's other text headers. In the quarantine they include the reason.
    pub headers: BTreeMap<String, String>,
    /// The handle that acknowledges the delivery.
    pub ack: Ack,
}

impl Delivery {
    /// Reads the delivery's parcel. A delivery with a [`MALFORMED_HEADER`] is poison, whatever its
    /// body.
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
    /// The queue that gave the message up.
    pub queue: String,
    /// The broker's reason: `expired`, `delivery_limit`, `rejected` or `maxlen`.
    pub reason: String,
}

/// Acknowledges one delivery. If it is dropped unused, the delivery stays unacknowledged until its
/// connection ends, and then the message is delivered again.
#[derive(Debug)]
#[must_use = "a delivery that is not acknowledged comes again"]
pub struct Ack {
    tag: u64,
    to: mpsc::UnboundedSender<u64>,
}

impl Ack {
    /// Creates the handle of a delivery, for adapters. [`Ack::ack`] sends `tag` through `to`.
    pub fn new(tag: u64, to: mpsc::UnboundedSender<u64>) -> Self {
        Self { tag, to }
    }

    /// Marks the message as handled. If the delivery's connection has ended meanwhile, this does
    /// nothing and the message is delivered again.
    pub fn ack(self) {
        let _ = self.to.send(self.tag);
    }
}

/// The consumer of a queue. Dropping it ends the consumption, and its unacknowledged messages go to
/// other consumers.
#[derive(Debug)]
pub struct Consumer {
    deliveries: mpsc::Receiver<Delivery>,
}

impl Consumer {
    /// Creates a consumer of these deliveries, for adapters.
    #[must_use]
    pub fn new(deliveries: mpsc::Receiver<Delivery>) -> Self {
        Self { deliveries }
    }

    /// Waits for one delivery, then takes the others that have arrived, up to `max` in all. Returns
    /// an empty list if the transport is closed.
    pub async fn next(&mut self, max: usize) -> Vec<Delivery> {
        let mut batch = Vec::new();
        self.deliveries.recv_many(&mut batch, max).await;
        batch
    }
}

impl Sender {
    /// Returns the party that may use a route. Transports inside one process have no broker that
    /// refuses the route to others.
    #[must_use]
    pub fn by(route: &Route) -> Self {
        match route {
            Route::Command { .. } | Route::OwnReplies => Self::Orchestrator,
            Route::Again { participant } => Self::Participant(participant.clone()),
            Route::Reply { from, .. } => Self::Participant(from.clone()),
            Route::Quarantine { from, .. } => Self::consuming(from),
            Route::Event { .. } => Self::Stranger,
        }
    }

    /// Returns the party that consumes a queue, and that quarantines what it finds there.
    #[must_use]
    pub fn consuming(queue: &Queue) -> Self {
        match queue {
            Queue::Commands { participant } => Self::Participant(participant.clone()),
            Queue::Replies | Queue::Quarantine => Self::Orchestrator,
        }
    }
}
