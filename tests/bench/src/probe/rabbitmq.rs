//! The probe on a real broker.

use bytes::Bytes;
use lapin::options::QueueDeclareOptions;
use saga_messaging::{Message, Queue, Route, Transport as _, parcel};
use saga_rabbitmq::{RabbitMq, Settings};
use saga_test_support::{Servers, eventually};

use super::*;

/// Long compared with anything that a sound broker does, short compared with a hung test.
const SOON: Duration = Duration::from_secs(30);
const PARTICIPANT: &str = "stock";

/// Returns settings for the shared broker, under a prefix of this test alone.
fn settings(hint: &str) -> Settings {
    let servers = Servers::shared();
    Settings {
        prefix: servers.fresh_prefix(hint),
        participants: vec![PARTICIPANT.to_owned()],
        ..Settings::new(servers.amqp_url(), "saga test")
    }
}

fn message(route: Route, id: &str) -> Message {
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

fn command(id: &str) -> Message {
    message(Route::Command { participant: PARTICIPANT.to_owned() }, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_poured_and_drained_again_and_again_and_leaves_nothing() {
    let settings = settings("flood");
    let probe = Probe::new(&settings.url, &settings.prefix);
    let flow = |way, bytes| Flow { way, bytes, share: 1.0 };
    let flows = [flow(Way::Queue, 600), flow(Way::Queue, 20_000), flow(Way::Nowhere, 300)];
    for _ in 0..3 {
        let flood = probe.flood(&flows, Duration::from_millis(500)).await.expect("a flood");
        assert!(flood.messages > 100, "{flood:?}");
        assert!(flood.elapsed >= Duration::from_millis(500), "{flood:?}");
    }
    let connection = connect(&settings.url, "saga test").await.expect("a broker");
    let channel = connection.create_channel().await.expect("a channel");
    let passive = QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = format!("{}probe.flood.0.queue", settings.prefix);
    let left = channel.queue_declare(queue.as_str().into(), passive, Default::default()).await;
    assert!(left.is_err(), "{queue} is still there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hop_takes_longer_than_nothing_and_so_does_a_confirm() {
    let settings = settings("hops");
    let probe = Probe::new(&settings.url, &settings.prefix);
    let hops = probe.hops(600, 10).await.expect("hops");
    assert_eq!(hops.len(), 10);
    assert!(hops.iter().all(|hop| *hop > Duration::ZERO), "{hops:?}");
    for way in [Way::Queue, Way::Nowhere] {
        let confirms = probe.confirms(way, 600, 10).await.expect("confirms");
        assert!(confirms.len() == 10 && confirms.iter().all(|c| *c > Duration::ZERO));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_counts_what_is_sent_and_takes_nothing_away() {
    let settings = settings("tap");
    let rabbit = RabbitMq::connect(settings.clone()).await.expect("a broker");
    let tap = Tap::open(&settings).await.expect("a tap");
    let consumer = EventConsumer::start(&settings).await.expect("a consumer");
    let event = message(Route::Event { key: "order.confirmed".into() }, "event");
    rabbit.publish(vec![command("one"), command("two"), event]).await.expect("published");
    eventually("the tap to have counted them", SOON, async || {
        let [commands, replies, events] = tap.counts().map(|tapped| tapped.messages);
        ((commands, replies, events) == (2, 0, 1) && consumer.received() == 1).then_some(())
    })
    .await;
    assert_eq!(tap.counts()[0].bytes, 2 * command("one").body.len() as u64);
    tap.close().await;
    consumer.stop().await.expect("stopped");
    let mut commands = rabbit.consume(Queue::Commands { participant: PARTICIPANT.to_owned() }, 10);
    let mut taken = 0;
    while taken < 2 {
        let more = tokio::time::timeout(SOON, commands.next(2)).await.expect("in time");
        assert!(!more.is_empty(), "the consumer ended");
        taken += more.len();
    }
    rabbit.publish(vec![command("afterwards")]).await.expect("published");
}
