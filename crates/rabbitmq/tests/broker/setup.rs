//! Helpers of the tests.

use std::time::Duration;

use bytes::Bytes;
use lapin::{Channel, Connection, ConnectionProperties};
use saga_messaging::{Consumer, Delivery, Message, Queue, Route, parcel};
use saga_rabbitmq::{RabbitMq, Settings};
use saga_test_support::Servers;

/// Long compared with any operation of a sound broker, short compared with a hung test.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Time after which a message that has not arrived will not arrive.
pub(crate) const NEVER: Duration = Duration::from_millis(500);

/// Returns settings for the shared broker, with a prefix that no other test uses.
pub(crate) fn settings(hint: &str) -> Settings {
    settings_for(Servers::shared().amqp_url(), hint)
}

/// Returns settings for a given broker, with a prefix that no other test uses.
pub(crate) fn settings_for(url: String, hint: &str) -> Settings {
    let mut settings = Settings::new(url, "saga test");
    settings.prefix = Servers::shared().fresh_prefix(hint);
    settings.participants = vec!["stock".to_owned()];
    settings
}

pub(crate) async fn connect(settings: &Settings) -> RabbitMq {
    let connecting = RabbitMq::connect(settings.clone());
    tokio::time::timeout(SOON, connecting).await.expect("in time").expect("a broker")
}

/// Connects as a client that is not part of the system, and opens a channel.
pub(crate) async fn stranger(settings: &Settings) -> (Connection, Channel) {
    let connection = Connection::connect(&settings.url, ConnectionProperties::default())
        .await
        .expect("a broker");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

pub(crate) fn stock() -> Queue {
    Queue::Commands { participant: "stock".to_owned() }
}

pub(crate) fn message(route: Route, id: &str) -> Message {
    Message {
        route,
        id: id.to_owned(),
        content_type: parcel::BATCH,
        body: Bytes::copy_from_slice(format!("[\"{id}\"]").as_bytes()),
        expiry: None,
        reply_to: None,
        redelivered: false,
    }
}

/// Creates a command to `stock`, the only participant in these tests.
pub(crate) fn command(id: &str) -> Message {
    message(Route::Command { participant: "stock".to_owned() }, id)
}

/// Takes exactly `count` deliveries from a consumer.
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

/// Checks that no delivery arrives.
pub(crate) async fn nothing(consumer: &mut Consumer) {
    let more = tokio::time::timeout(NEVER, consumer.next(1)).await;
    assert!(more.is_err(), "nothing was to come: {more:?}");
}

pub(crate) fn id(delivery: &Delivery) -> &str {
    delivery.message_id.as_deref().expect("our messages have ids")
}

pub(crate) fn ids(deliveries: &[Delivery]) -> Vec<String> {
    let mut ids: Vec<String> = deliveries.iter().map(|one| id(one).to_owned()).collect();
    ids.sort();
    ids
}
