//! The properties' access to a broker, real or in memory, and their common helpers.

use std::time::Duration;

use saga_messaging::{
    Consumer, Delivery, InProcess, InProcessSettings, Message, PublishError, Queue, Refused, Route,
    Transport, parcel,
};
use saga_rabbitmq::RabbitMq;
use saga_test_support::{Servers, amqp, eventually};

/// Long compared with anything that a sound broker does, short compared with a hung test.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Long enough: a message that has not come by then does not come.
pub(crate) const NEVER: Duration = Duration::from_millis(500);
/// Maximum number of redeliveries of a message, the same in all these tests.
pub(crate) const DELIVERY_LIMIT: u32 = 2;

/// A broker of this test alone, with the participant `stock`.
pub(crate) trait Bench {
    /// The adapter.
    type Transport: Transport;
    /// A consumer of events.
    type Listener;

    /// Opens another process's transport on the same broker.
    async fn process(&self) -> Self::Transport;
    /// Closes a process's transport, with all its clones.
    async fn close(&self, transport: Self::Transport);
    /// Begins to listen for the events that match these patterns.
    async fn listen(&self, keys: &[&str]) -> Self::Listener;
    /// Returns the id of the next event, if one has arrived.
    async fn heard(&self, listener: &mut Self::Listener) -> Option<String>;
    /// Returns the name of a queue at the broker.
    fn name(&self, queue: &Queue) -> String;
}

/// The in-process adapter.
pub(crate) struct Memory {
    first: InProcess,
}

pub(crate) async fn in_process() -> Memory {
    let first = InProcess::new(InProcessSettings {
        participants: vec!["stock".to_owned()],
        delivery_limit: DELIVERY_LIMIT,
        ..InProcessSettings::default()
    });
    Memory { first }
}

impl Bench for Memory {
    type Transport = InProcess;
    type Listener = Consumer;

    async fn process(&self) -> InProcess {
        self.first.attach()
    }

    async fn close(&self, transport: InProcess) {
        transport.close().await;
    }

    async fn listen(&self, keys: &[&str]) -> Consumer {
        self.first.listen(keys)
    }

    async fn heard(&self, listener: &mut Consumer) -> Option<String> {
        let next = tokio::time::timeout(Duration::from_millis(1), listener.next(1)).await;
        let delivery = next.ok()?.pop()?;
        let id = id(&delivery).to_owned();
        delivery.ack.ack();
        Some(id)
    }

    fn name(&self, queue: &Queue) -> String {
        name("", queue)
    }
}

/// The RabbitMQ adapter, on the tests' broker.
pub(crate) struct Rabbit {
    settings: saga_rabbitmq::Settings,
}

pub(crate) async fn rabbitmq() -> Rabbit {
    let servers = Servers::shared();
    let mut settings = saga_rabbitmq::Settings::new(servers.amqp_url(), "saga conformance");
    settings.prefix = servers.fresh_prefix("conformance");
    settings.participants = vec!["stock".to_owned()];
    settings.delivery_limit = DELIVERY_LIMIT;
    Rabbit { settings }
}

impl Bench for Rabbit {
    type Transport = RabbitMq;
    type Listener = amqp::Listener;

    async fn process(&self) -> RabbitMq {
        let connecting = RabbitMq::connect(self.settings.clone());
        tokio::time::timeout(SOON, connecting).await.expect("in time").expect("a broker")
    }

    async fn close(&self, transport: RabbitMq) {
        transport.close().await;
    }

    async fn listen(&self, keys: &[&str]) -> amqp::Listener {
        // The first listener declares the exchange.
        RabbitMq::setup(self.settings.clone()).await.expect("a broker");
        let exchange = format!("{}{}", self.settings.prefix, self.settings.events);
        amqp::Listener::bind(&self.settings.url, &exchange, keys).await.expect("bound")
    }

    async fn heard(&self, listener: &mut amqp::Listener) -> Option<String> {
        let taken = listener.take().await.expect("a broker")?;
        Some(taken.message_id.expect("our messages have ids"))
    }

    fn name(&self, queue: &Queue) -> String {
        name(&self.settings.prefix, queue)
    }
}

fn name(prefix: &str, queue: &Queue) -> String {
    match queue {
        Queue::Commands { participant } => format!("{prefix}saga.commands.{participant}"),
        Queue::Replies => format!("{prefix}saga.replies"),
        Queue::Quarantine => format!("{prefix}saga.quarantine"),
    }
}

/// Returns the command queue of the participant that every bench has.
pub(crate) fn stock() -> Queue {
    Queue::Commands { participant: "stock".to_owned() }
}

pub(crate) fn message(route: Route, id: &str) -> Message {
    Message {
        route,
        id: id.to_owned(),
        content_type: parcel::BATCH,
        body: format!("[\"{id}\"]").into(),
        expiry: None,
        reply_to: None,
        redelivered: false,
    }
}

pub(crate) fn command(id: &str) -> Message {
    message(Route::Command { participant: "stock".to_owned() }, id)
}

/// Creates commands whose ids are the numbers of a range.
pub(crate) fn commands(numbers: std::ops::Range<usize>) -> Vec<Message> {
    numbers.map(|number| command(&number.to_string())).collect()
}

/// Takes exactly `count` deliveries.
pub(crate) async fn take(consumer: &mut Consumer, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    let taking = async {
        while taken.len() < count {
            let more = consumer.next(count - taken.len()).await;
            assert!(!more.is_empty(), "the consumer ended");
            taken.extend(more);
        }
    };
    let in_time = tokio::time::timeout(SOON, taking).await.is_ok();
    assert!(in_time, "{} of {count} deliveries in {SOON:?}", taken.len());
    taken
}

/// Takes one delivery.
pub(crate) async fn take_one(consumer: &mut Consumer) -> Delivery {
    take(consumer, 1).await.remove(0)
}

/// Checks that nothing comes.
pub(crate) async fn nothing(consumer: &mut Consumer) {
    let more = tokio::time::timeout(NEVER, consumer.next(1)).await;
    assert!(more.is_err(), "nothing was to come: {more:?}");
}

/// Receives exactly the expected number of events. Once an event is confirmed, it has reached every
/// listener.
pub(crate) async fn hear<B: Bench>(
    bench: &B,
    listener: &mut B::Listener,
    count: usize,
) -> Vec<String> {
    let mut ids = Vec::new();
    while ids.len() < count {
        ids.push(eventually("an event", SOON, async || bench.heard(listener).await).await);
    }
    assert_eq!(bench.heard(listener).await, None, "more events than {ids:?}");
    ids
}

pub(crate) fn id(delivery: &Delivery) -> &str {
    delivery.message_id.as_deref().expect("our messages have ids")
}

/// Returns the ids of deliveries, in order.
pub(crate) fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(id).collect()
}

/// Publishes messages some of which must be refused.
pub(crate) async fn refused<T: Transport>(
    transport: &T,
    messages: Vec<Message>,
) -> Vec<(usize, Refused)> {
    match transport.publish(messages).await {
        Err(PublishError::Refused(refused)) => refused,
        other => panic!("some were to be refused: {other:?}"),
    }
}
