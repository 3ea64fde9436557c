//! The consumption of one queue. Each consumer has its own connection, so that a fault of one queue
//! does not affect the others.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, future::try_join_all};
use lapin::{
    Channel, Connection,
    options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use saga_messaging::{Ack, Delivery, Queue, Sender};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    Topology, death,
    error::Failure,
    link::{self, Link, Outages, Purpose, SETUP_LIMIT, within},
    topology::DECLARE_AGAIN_AFTER,
    window::{Frame, Window},
};

/// Time in which deliveries that are being handled may still be acknowledged, after the consumer
/// was dropped or the transport closed.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);
/// Time limit for writing an acknowledgement. Writing needs no answer from the broker, so reaching
/// the limit means that the socket accepts no more bytes.
const WRITE_LIMIT: Duration = Duration::from_secs(5);
/// A consumer without unacknowledged deliveries that has received nothing for this long gets a new
/// channel.
const RENEW_AFTER: Duration = Duration::from_secs(10);

/// A consumer's task. It does nothing until [`Consumption::run`] is awaited.
pub(crate) struct Consumption {
    pub(crate) link: Arc<Link>,
    pub(crate) topology: Arc<Topology>,
    pub(crate) queue: Queue,
    pub(crate) prefetch: u16,
    /// Cancelled when the transport is closed.
    pub(crate) closing: CancellationToken,
}

/// A channel on one connection, and its unacknowledged deliveries.
struct Session<'a> {
    connection: &'a Connection,
    channel: Channel,
    consumer: lapin::Consumer,
    /// The task that this session belongs to, with its queue and its prefetch.
    terms: &'a Consumption,
    window: Window,
    last_delivery: Instant,
    /// Sends the acknowledgements of this channel. Those for earlier channels are lost.
    ack: mpsc::UnboundedSender<u64>,
    acks: mpsc::UnboundedReceiver<u64>,
}

/// The reason why a session ended without a failure.
enum End {
    /// The consumer was dropped or the transport closed.
    Stop,
    /// The consumption continues on a new channel.
    Renew,
}

impl Consumption {
    /// Delivers messages until the receiver is dropped or the transport is closed, through any
    /// number of lost connections.
    pub(crate) async fn run(self, to: mpsc::Sender<Delivery>) {
        let mut outages = Outages::new(Purpose::Consume);
        loop {
            self.gauge().set(0.0);
            let connected = tokio::select! {
                connection = self.link.open(Purpose::Consume) => connection,
                () = self.ended(&to) => return,
            };
            let failure = match connected {
                Ok(connection) => match self.session(&connection, &to, &mut outages).await {
                    Ok(settling) => {
                        // The consumer now sees the end of its deliveries, and can still
                        // acknowledge those that it holds.
                        drop(to);
                        settling.settle().await;
                        return link::close(&connection).await;
                    }
                    Err(failure) => {
                        link::close(&connection).await;
                        failure
                    }
                },
                Err(failure) => failure,
            };
            if matches!(failure, Failure::Cancelled) {
                tokio::time::sleep(DECLARE_AGAIN_AFTER).await;
            }
            tokio::select! {
                go_on = outages.down(&failure, &self.closing) => if !go_on { return },
                () = to.closed() => return,
            }
        }
    }

    /// Returns the metric that is 1 while the queue is consumed.
    fn gauge(&self) -> metrics::Gauge {
        metrics::gauge!("saga_consumer_up", "queue" => self.topology.queue(&self.queue))
    }

    async fn ended(&self, to: &mpsc::Sender<Delivery>) {
        tokio::select! {
            () = self.closing.cancelled() => {}
            () = to.closed() => {}
        }
    }

    /// Delivers messages over one connection. Returns Ok when the consumption must end.
    async fn session<'a>(
        &'a self,
        connection: &'a Connection,
        to: &mpsc::Sender<Delivery>,
        outages: &mut Outages,
    ) -> Result<Session<'a>, Failure> {
        loop {
            let (channel, consumer) =
                within(SETUP_LIMIT, "setting up a consumer", self.set_up(connection)).await?;
            outages.up();
            self.gauge().set(1.0);
            let (ack, acks) = mpsc::unbounded_channel();
            let mut session = Session {
                connection,
                channel,
                consumer,
                terms: self,
                window: Window::default(),
                last_delivery: Instant::now(),
                ack,
                acks,
            };
            match session.deliver(to, self.ended(to)).await? {
                End::Stop => return Ok(session),
                End::Renew => {
                    let closing = session.channel.close(200, "renewed".into());
                    let closing = async { Ok(closing.await?) };
                    within(WRITE_LIMIT, "closing a channel", closing).await?;
                }
            }
        }
    }

    async fn set_up(&self, connection: &Connection) -> Result<(Channel, lapin::Consumer), Failure> {
        let channel = connection.create_channel().await?;
        self.topology.declare_for(&channel, &self.queue).await?;
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
        let queue = self.topology.queue(&self.queue);
        let options = BasicConsumeOptions::default();
        let consumer = channel
            .basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default())
            .await?;
        Ok((channel, consumer))
    }
}

impl Session<'_> {
    /// Passes on deliveries and acknowledgements until `end`.
    async fn deliver(
        &mut self,
        to: &mpsc::Sender<Delivery>,
        end: impl Future<Output = ()>,
    ) -> Result<End, Failure> {
        tokio::pin!(end);
        let mut look = tokio::time::interval(link::LOOK_EVERY);
        // A delivery that waits for room in the receiver, which may still be full of deliveries
        // from an earlier connection.
        let mut waiting = None;
        loop {
            tokio::select! {
                () = &mut end => return Ok(End::Stop),
                Some(tag) = self.acks.recv() => self.acknowledge(tag).await?,
                room = to.reserve(), if waiting.is_some() => {
                    if let (Ok(room), Some(delivery)) = (room, waiting.take()) {
                        room.send(delivery);
                    }
                }
                next = self.consumer.next(), if waiting.is_none() => {
                    let next = next.ok_or(Failure::Cancelled)??;
                    waiting = to.try_send(self.take(next)?).err().map(|full| match full {
                        mpsc::error::TrySendError::Full(delivery)
                        | mpsc::error::TrySendError::Closed(delivery) => delivery,
                    });
                }
                _ = look.tick() => if self.look(waiting.is_some())? {
                    return Ok(End::Renew);
                },
            }
        }
    }

    /// Checks the connection, and returns true when the consumer needs a new channel. After some
    /// accidents (for example when a queue is deleted and declared again at once), the broker still
    /// counts this consumer, and even counts messages as delivered to it, but sends nothing. The
    /// consumer cannot tell this from an empty queue, so an idle consumer gets a new channel from
    /// time to time.
    fn look(&self, waiting: bool) -> Result<bool, Failure> {
        if !self.connection.status().connected() {
            return Err(Failure::Ended("the connection is gone"));
        }
        let idle = self.window.is_empty() && !waiting;
        Ok(idle && self.last_delivery.elapsed() >= RENEW_AFTER)
    }

    fn take(&mut self, delivery: lapin::message::Delivery) -> Result<Delivery, Failure> {
        if !self.window.delivered(delivery.delivery_tag) {
            return Err(Failure::Ended("a delivery is missing"));
        }
        self.last_delivery = Instant::now();
        let properties = &delivery.properties;
        let owned = |text: &lapin::types::ShortString| text.as_str().to_owned();
        let user = properties.user_id().as_ref().map(lapin::types::ShortString::as_str);
        let exchange = delivery.exchange.as_str();
        let sender = self.terms.topology.sender(&self.terms.queue, exchange, user);
        // Anybody can write such a header, but only the broker publishes to its own exchange.
        let death = (sender == Sender::Broker).then(|| death::death(properties));
        Ok(Delivery {
            sender,
            content_type: properties.content_type().as_ref().map(owned),
            redelivered: delivery.redelivered || death::redelivered(properties),
            reply_to: properties.reply_to().as_ref().map(owned),
            message_id: properties.message_id().as_ref().map(owned),
            death: death.flatten(),
            headers: death::texts(properties),
            ack: Ack::new(delivery.delivery_tag, self.ack.clone()),
            body: delivery.data.into(),
        })
    }

    /// Acknowledges this delivery, and all others whose acknowledgements are waiting.
    async fn acknowledge(&mut self, tag: u64) -> Result<(), Failure> {
        let mut tags = vec![tag];
        while let Ok(tag) = self.acks.try_recv() {
            tags.push(tag);
        }
        let frames = self.window.acknowledge(tags);
        let write = |frame| {
            let (tag, multiple) = match frame {
                Frame::One(tag) => (tag, false),
                Frame::UpTo(tag) => (tag, true),
            };
            self.channel.basic_ack(tag, BasicAckOptions { multiple })
        };
        let written = async { Ok(try_join_all(frames.into_iter().map(write)).await?) };
        within(WRITE_LIMIT, "acknowledging", written).await.map(drop)
    }

    /// Stops receiving, but waits for the acknowledgements of the deliveries that are still being
    /// handled. Unacknowledged deliveries go back to the queue.
    async fn settle(mut self) {
        let options = BasicCancelOptions::default();
        let cancel = self.channel.basic_cancel(self.consumer.tag(), options);
        if !matches!(tokio::time::timeout(WRITE_LIMIT, cancel).await, Ok(Ok(()))) {
            return;
        }
        // From here on, the channel of acknowledgements stays open only while the consumer still
        // holds deliveries.
        let (nobody, _) = mpsc::unbounded_channel();
        self.ack = nobody;
        let acknowledging = async {
            while let Some(tag) = self.acks.recv().await {
                if self.acknowledge(tag).await.is_err() {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(SETTLE_LIMIT, acknowledging).await;
    }
}
