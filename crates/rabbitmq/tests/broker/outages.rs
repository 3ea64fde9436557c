use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use saga_messaging::{PublishError, Transport};
use saga_test_support::{RabbitMq as Broker, eventually};

use crate::setup::{SOON, command, connect, id, settings_for, stock, take};

fn broker() -> Broker {
    Broker::start().expect("a broker of its own")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_broker_loses_nothing_that_was_confirmed_and_the_consumer_goes_on() {
    let broker = broker();
    let settings = settings_for(broker.url(), "kill");
    let rabbit = connect(&settings).await;
    let publishing = tokio::spawn({
        let rabbit = rabbit.clone();
        async move {
            let mut confirmed = BTreeSet::new();
            let mut outages = 0;
            let started = Instant::now();
            for number in 0.. {
                let id = number.to_string();
                match rabbit.publish(vec![command(&id)]).await {
                    Ok(()) => drop(confirmed.insert(id)),
                    // Neither error confirms the message, so it need not arrive.
                    Err(PublishError::Unavailable(_) | PublishError::Refused(_)) => {
                        outages += 1;
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
                if outages > 0 && confirmed.len() > number / 2 && started.elapsed().as_secs() > 4
                    || started.elapsed() > 3 * SOON
                {
                    break;
                }
            }
            assert!(outages > 0, "the broker was killed");
            confirmed
        }
    });
    let mut consumer = rabbit.consume(stock(), 20);
    let mut seen = BTreeSet::new();
    // Some deliveries are acknowledged before the kill, and some are unacknowledged during it.
    for _ in 0..50 {
        let delivery = take(&mut consumer, 1).await.remove(0);
        seen.insert(id(&delivery).to_owned());
        delivery.ack.ack();
    }
    broker.kill9().expect("killed");
    tokio::task::block_in_place(|| broker.restart().expect("restarted"));
    let confirmed = publishing.await.expect("publishing ended");
    let missing = async {
        while !confirmed.is_subset(&seen) {
            for delivery in consumer.next(100).await {
                seen.insert(id(&delivery).to_owned());
                delivery.ack.ack();
            }
        }
    };
    let in_time = tokio::time::timeout(SOON, missing).await.is_ok();
    assert!(in_time, "lost: {:?}", confirmed.difference(&seen).take(10).collect::<Vec<_>>());
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_while_the_broker_is_down_fails_within_the_timeout_and_works_again_after() {
    let broker = broker();
    let mut settings = settings_for(broker.url(), "down");
    settings.publish_timeout = Duration::from_secs(1);
    let rabbit = connect(&settings).await;
    rabbit.publish(vec![command("before")]).await.expect("published");
    broker.stop().expect("stopped");
    for _ in 0..3 {
        let started = Instant::now();
        let result = rabbit.publish(vec![command("during")]).await;
        assert!(matches!(result, Err(PublishError::Unavailable(_))), "{result:?}");
        assert!(started.elapsed() < Duration::from_millis(1_500), "{:?}", started.elapsed());
    }
    tokio::task::block_in_place(|| broker.restart().expect("restarted"));
    eventually("publishing to work", SOON, async || {
        rabbit.publish(vec![command("after")]).await.ok()
    })
    .await;
    let mut consumer = rabbit.consume(stock(), 10);
    let mut seen = BTreeSet::new();
    while !["before", "after"].iter().all(|wanted| seen.contains(*wanted)) {
        let delivery = take(&mut consumer, 1).await.remove(0);
        seen.insert(id(&delivery).to_owned());
        delivery.ack.ack();
    }
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_while_the_broker_is_down_ends() {
    let broker = broker();
    let rabbit = connect(&settings_for(broker.url(), "close")).await;
    let mut consumer = rabbit.consume(stock(), 10);
    broker.kill9().expect("killed");
    tokio::time::timeout(SOON, rabbit.close()).await.expect("in time");
    let end = tokio::time::timeout(SOON, consumer.next(1)).await.expect("in time");
    assert!(end.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_may_start_before_its_broker() {
    let broker = broker();
    broker.stop().expect("stopped");
    let settings = settings_for(broker.url(), "early");
    let connecting = tokio::spawn(async move { connect(&settings).await });
    tokio::task::block_in_place(|| broker.restart().expect("started"));
    let rabbit = connecting.await.expect("connected");
    rabbit.publish(vec![command("first")]).await.expect("published");
}
