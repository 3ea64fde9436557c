//! The adapter: RabbitMQ behind the transport port.

use std::{fmt, sync::Arc, time::Duration};

use saga_messaging::{Changed, Consumer, Message, PublishError, Queue, Route, Transport};
use tokio::{
    sync::{broadcast, mpsc},
    time::Instant,
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    ConnectError, Settings, Topology,
    consume::Consumption,
    error::{Failure, broker},
    hints::{self, Hints},
    link::{self, Backoff, FIRST_SETUP_LIMIT, Link, Purpose, within},
    publish::Publisher,
};

/// Time limit for closing the consumers, and again for closing the publishers: a bit longer than
/// their own time limits.
const CLOSE_LIMIT: Duration = Duration::from_secs(15);

/// RabbitMQ as a [`Transport`].
///
/// Cloning is cheap. Publishing ends when the last clone is dropped. A consumer goes on until it is
/// dropped, or until [`RabbitMq::close`].
#[derive(Clone)]
pub struct RabbitMq {
    inner: Arc<Inner>,
}

struct Inner {
    link: Arc<Link>,
    topology: Arc<Topology>,
    publisher: Publisher,
    announcements: mpsc::Sender<Vec<Changed>>,
    changes: broadcast::Sender<Vec<Changed>>,
    consuming: CancellationToken,
    consumers: TaskTracker,
    publishing: DropGuard,
    publishers: TaskTracker,
}

impl RabbitMq {
    /// Connects, and declares the topology or checks that it exists. Waits for a broker that is
    /// away, for at most `patience`.
    ///
    /// # Errors
    /// [`ConnectError`]. Returned at once if waiting cannot help.
    pub async fn connect(settings: Settings) -> Result<Self, ConnectError> {
        let (link, topology) = declare_patiently(&settings).await?;
        let (link, topology) = (Arc::new(link), Arc::new(topology));
        let publishing = CancellationToken::new();
        let publishers = TaskTracker::new();
        let (publisher, supervisor) = Publisher::new(
            Arc::clone(&link),
            Arc::clone(&topology),
            settings.name,
            settings.publish_timeout,
        );
        publishers.spawn(supervisor.run(publishing.clone()));
        let (announcements, outgoing) = mpsc::channel(hints::MAX_WAITING);
        let (changes, _) = broadcast::channel(hints::MAX_BEHIND);
        let hints = Hints {
            link: Arc::clone(&link),
            topology: Arc::clone(&topology),
            outgoing,
            incoming: changes.clone(),
        };
        // Otherwise the hints are dropped here, and what is announced is lost.
        if settings.hints {
            publishers.spawn(hints.run(publishing.clone()));
        }
        let inner = Inner {
            link,
            topology,
            publisher,
            announcements,
            changes,
            consuming: CancellationToken::new(),
            consumers: TaskTracker::new(),
            publishing: publishing.drop_guard(),
            publishers,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Declares the topology and does nothing else. Repeating it changes nothing.
    ///
    /// # Errors
    /// As [`RabbitMq::connect`].
    pub async fn setup(settings: Settings) -> Result<(), ConnectError> {
        declare_patiently(&Settings { declares: true, ..settings }).await.map(drop)
    }

    /// Returns the names of the exchanges and queues.
    #[must_use]
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    /// Closes the transport, for every clone. Consumers get no more deliveries. Deliveries that are
    /// being handled may still be acknowledged for 5 s, and calls that are publishing may finish.
    /// Then the connections are closed.
    pub async fn close(self) {
        let Inner { consuming, consumers, publishing, publishers, .. } = &*self.inner;
        consuming.cancel();
        consumers.close();
        let consumers_ended = tokio::time::timeout(CLOSE_LIMIT, consumers.wait()).await.is_ok();
        // Publishing ends only now, because the handlers of the last deliveries had answers to
        // publish.
        publishing.token().cancel();
        publishers.close();
        let publishers_ended = tokio::time::timeout(CLOSE_LIMIT, publishers.wait()).await.is_ok();
        if !consumers_ended || !publishers_ended {
            tracing::warn!(consumers_ended, publishers_ended, "the broker did not let go in time");
        }
    }
}

impl Transport for RabbitMq {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        self.inner.publisher.publish(&messages).await
    }

    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer {
        // To the broker, zero would mean an unlimited prefetch.
        let prefetch = prefetch.max(1);
        let (to, deliveries) = mpsc::channel(prefetch.into());
        let consumption = Consumption {
            link: Arc::clone(&self.inner.link),
            topology: Arc::clone(&self.inner.topology),
            queue,
            prefetch,
            closing: self.inner.consuming.clone(),
        };
        self.inner.consumers.spawn(consumption.run(to));
        Consumer::new(deliveries)
    }

    fn announce(&self, changed: Vec<Changed>) {
        if !changed.is_empty() {
            // When the channel is full the hint is lost, which is allowed for any hint.
            let _ = self.inner.announcements.try_send(changed);
        }
    }

    fn changes(&self) -> broadcast::Receiver<Vec<Changed>> {
        self.inner.changes.subscribe()
    }

    const SYSTEM: &'static str = "rabbitmq";

    fn destination(&self, route: &Route) -> String {
        let topology = &self.inner.topology;
        match route {
            Route::Command { participant } => format!("{}:{participant}", topology.commands()),
            Route::Again { participant } => {
                format!("{}:{participant}", topology.again(participant))
            }
            Route::Reply { to, from } => format!("{}:{to}", topology.replies_of(from)),
            Route::OwnReplies => format!("{}:{}", topology.replies(), topology.reply_key()),
            Route::Event { key } => format!("{}:{key}", topology.events()),
            Route::Quarantine { from, .. } => topology.quarantine_of(from),
        }
    }

    fn source(&self, queue: &Queue) -> String {
        self.inner.topology.queue(queue)
    }
}

impl fmt::Debug for RabbitMq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitMq")
            .field("broker", &broker(&self.inner.link.address))
            .field("topology", &self.inner.topology)
            .finish_non_exhaustive()
    }
}

async fn declare_patiently(settings: &Settings) -> Result<(Link, Topology), ConnectError> {
    let topology = Topology::new(settings)?;
    let link = Link::new(settings.address()?, settings);
    let deadline = Instant::now() + settings.patience;
    let mut backoff = Backoff::default();
    loop {
        let Err(failure) = declare(&link, &topology).await else {
            return Ok((link, topology));
        };
        if let Some(error) = failure.for_good(&link.address) {
            return Err(error);
        }
        let pause = backoff.next();
        if Instant::now() + pause >= deadline {
            return Err(ConnectError::Unreachable {
                broker: broker(&link.address),
                patience: settings.patience,
                reason: failure.to_string(),
            });
        }
        tracing::debug!(error = %failure, "no broker yet");
        tokio::time::sleep(pause).await;
    }
}

async fn declare(link: &Link, topology: &Topology) -> Result<(), Failure> {
    let connection = link.open(Purpose::Setup).await?;
    let declared = within(FIRST_SETUP_LIMIT, "declaring the topology", async {
        let channel = connection.create_channel().await?;
        topology.declare(&channel).await
    });
    let declared = declared.await;
    link::close(&connection).await;
    declared
}
