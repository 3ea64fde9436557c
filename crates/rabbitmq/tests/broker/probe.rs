//! The measurements that `saga bench` makes of a broker.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use saga_messaging::{Route, Transport as _};
use saga_rabbitmq::probe::{EventConsumer, Flow, Probe, Tap, Way};
use saga_test_support::eventually;

use crate::setup::{SOON, command, connect, message, settings, stranger};

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
    let (_connection, channel) = stranger(&settings).await;
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
    let rabbit = connect(&settings).await;
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
    let mut commands = rabbit.consume(crate::setup::stock(), 10);
    assert_eq!(crate::setup::take(&mut commands, 2).await.len(), 2);
    rabbit.publish(vec![command("afterwards")]).await.expect("published");
}
