//! Tests of the user for event consumers in `deploy/rabbitmq/definitions.json`, at a real broker.
//! It may do everything that a consumer must do, but it cannot affect a saga or publish events for
//! a service.

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ErrorKind, ExchangeKind,
    options::{
        BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
        ExchangeBindOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
    },
    types::{AMQPValue, FieldTable},
};
use saga_rabbitmq::{RabbitMq, Settings};

use crate::setup::SOON;

const EVENTS: &str = "shop.events";
const OWN: &str = "consumer.test";

/// Starts a broker with the users of docker-compose.yml, and declares the queues of `saga setup`.
pub(crate) async fn deployed() -> saga_test_support::RabbitMq {
    let broker = tokio::task::spawn_blocking(|| {
        let broker = saga_test_support::RabbitMq::start().expect("a broker");
        broker.load_deployed_definitions().expect("its users");
        broker
    });
    let broker = broker.await.expect("it does not panic");
    let url = broker.deployed_url("setup").expect("its secret");
    let participants = ["order", "inventory", "payment"].map(str::to_owned).to_vec();
    let events = EVENTS.to_owned();
    let settings = Settings { participants, events, ..Settings::new(url, "saga setup") };
    RabbitMq::setup(settings).await.expect("the user setup may declare");
    broker
}

/// Connects to the broker as the given user.
pub(crate) async fn login(broker: &saga_test_support::RabbitMq, user: &str) -> Connection {
    let url = broker.deployed_url(user).expect("its secret");
    Connection::connect(&url, ConnectionProperties::default()).await.expect("it may log in")
}

fn durable() -> QueueDeclareOptions {
    QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() }
}

fn arguments(entries: &[(&str, &str)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    table
}

async fn declare(channel: &Channel, queue: &str, entries: &[(&str, &str)]) -> lapin::Result<()> {
    channel.queue_declare(queue.into(), durable(), arguments(entries)).await.map(drop)
}

pub(crate) async fn bind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
) -> lapin::Result<()> {
    let (options, none) = (QueueBindOptions::default(), FieldTable::default());
    channel.queue_bind(queue.into(), exchange.into(), key.into(), options, none).await
}

pub(crate) async fn publish(channel: &Channel, exchange: &str, key: &str) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let sent = channel.basic_publish(exchange.into(), key.into(), options, b"{}", properties);
    sent.await?.await.map(drop)
}

pub(crate) async fn get(channel: &Channel, queue: &str) -> lapin::Result<bool> {
    let Some(message) = channel.basic_get(queue.into(), BasicGetOptions::default()).await? else {
        return Ok(false);
    };
    message.ack(BasicAckOptions::default()).await?;
    Ok(true)
}

/// Checks that an attempt is refused. Each attempt uses a new channel, because a refusal closes the
/// channel.
pub(crate) async fn refused(
    connection: &Connection,
    what: &str,
    attempt: impl AsyncFnOnce(&Channel) -> lapin::Result<()>,
) {
    let channel = connection.create_channel().await.expect("a channel");
    let answer = tokio::time::timeout(SOON, attempt(&channel)).await.expect("an answer in time");
    let error = answer.expect_err(&format!("it may {what}"));
    let code = match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_id(),
        other => panic!("{what}: {other:?}"),
    };
    assert_eq!(code, 403, "{what}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_may_bind_queues_of_its_own_and_hear_every_event() {
    let broker = deployed().await;
    let connection = login(&broker, "consumer").await;
    let channel = connection.create_channel().await.expect("a channel");
    declare(&channel, OWN, &[("x-queue-type", "quorum")]).await.expect("a queue of its own");
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let unnamed = channel.queue_declare("".into(), exclusive, FieldTable::default()).await;
    let unnamed = unnamed.expect("a queue that the broker names").name().to_string();
    for key in ["#", "order.*", "saga.stuck"] {
        bind(&channel, OWN, EVENTS, key).await.expect("a binding");
    }
    bind(&channel, &unnamed, EVENTS, "#").await.expect("a binding");
    for (user, key) in [
        ("order", "order.confirmed"),
        ("inventory", "stock.reserved"),
        ("payment", "payment.captured"),
        ("orchestrator", "saga.stuck"),
    ] {
        let service = login(&broker, user).await;
        let events = service.create_channel().await.expect("a channel");
        publish(&events, EVENTS, key).await.expect("its own event");
        for queue in [OWN, &unnamed] {
            assert!(get(&channel, queue).await.expect("it may read"), "{key} in {queue}");
        }
        refused(&service, "say another's event", async |c| publish(c, EVENTS, "other.event").await)
            .await;
        refused(&service, "enter a consumer's queue", async |c| get(c, OWN).await.map(drop)).await;
    }
    let delete = QueueDeleteOptions::default();
    channel.queue_delete(OWN.into(), delete).await.expect("it may take its queue away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_may_neither_publish_nor_touch_a_saga() {
    let broker = deployed().await;
    let connection = login(&broker, "consumer").await;
    let channel = connection.create_channel().await.expect("a channel");
    declare(&channel, OWN, &[]).await.expect("a queue of its own");
    for (exchange, key) in [
        (EVENTS, "order.confirmed"),
        (EVENTS, ""),
        ("saga.commands", "order"),
        ("saga.replies", "orchestrator"),
        ("saga.quarantine", ""),
        ("saga.hints", ""),
        // The default exchange uses the routing key as the name of a queue.
        ("", "saga.commands.payment"),
        ("", OWN),
    ] {
        let what = format!("publish to {exchange:?} under {key:?}");
        refused(&connection, &what, async |c| publish(c, exchange, key).await).await;
    }
    for queue in ["saga.commands.order", "saga.replies", "saga.quarantine"] {
        refused(&connection, "read a queue", async |c| get(c, queue).await.map(drop)).await;
        refused(&connection, "purge a queue", async |c| {
            c.queue_purge(queue.into(), QueuePurgeOptions::default()).await.map(drop)
        })
        .await;
        refused(&connection, "delete a queue", async |c| {
            c.queue_delete(queue.into(), QueueDeleteOptions::default()).await.map(drop)
        })
        .await;
        refused(&connection, "feed events into a queue of the sagas", async |c| {
            bind(c, queue, EVENTS, "#").await
        })
        .await;
    }
    for exchange in ["saga.commands", "saga.replies", "saga.quarantine", "saga.hints"] {
        refused(&connection, "overhear the sagas", async |c| bind(c, OWN, exchange, "order").await)
            .await;
        refused(&connection, "have dead letters delivered as commands", async |c| {
            declare(c, "consumer.dead", &[("x-dead-letter-exchange", exchange)]).await
        })
        .await;
    }
    refused(&connection, "have dead letters delivered to any queue", async |c| {
        let dead =
            [("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", "saga.commands.order")];
        declare(c, "consumer.dead", &dead).await
    })
    .await;
    refused(&connection, "have dead letters pass for events", async |c| {
        declare(c, "consumer.dead", &[("x-dead-letter-exchange", EVENTS)]).await
    })
    .await;
    for queue in ["saga.mine", "mine", "shop.mine"] {
        refused(&connection, "declare any queue", async |c| declare(c, queue, &[]).await).await;
    }
    exchanges_are_not_its_own(&connection).await;
}

async fn exchanges_are_not_its_own(connection: &Connection) {
    refused(connection, "delete the events' exchange", async |c| {
        c.exchange_delete(EVENTS.into(), ExchangeDeleteOptions::default()).await
    })
    .await;
    // The consumer may declare its own exchange, but it cannot bind that exchange to ours.
    let options = ExchangeDeclareOptions::default();
    let channel = connection.create_channel().await.expect("a channel");
    channel
        .exchange_declare("consumer.x".into(), ExchangeKind::Fanout, options, FieldTable::default())
        .await
        .expect("an exchange of its own");
    for target in [EVENTS, "saga.commands"] {
        refused(connection, "lead messages of its own to the shop", async |c| {
            let (options, none) = (ExchangeBindOptions::default(), FieldTable::default());
            c.exchange_bind(target.into(), "consumer.x".into(), "".into(), options, none).await
        })
        .await;
        refused(connection, "have unroutable messages go to the shop", async |c| {
            let elsewhere = arguments(&[("alternate-exchange", target)]);
            let (name, options) = ("consumer.y".into(), ExchangeDeclareOptions::default());
            c.exchange_declare(name, ExchangeKind::Fanout, options, elsewhere).await
        })
        .await;
    }
}
