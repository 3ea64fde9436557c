use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use saga_messaging::{
    FROM_HEADER, PublishError, Queue, REASON_HEADER, Refused, Route, Transport, parcel,
};

use saga_test_support::proxy::{Mode, Proxy};

use crate::setup::{
    command, connect, id, ids, message, nothing, settings, settings_for, stock, take,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_goes_round_with_all_that_it_says() {
    let rabbit = connect(&settings("round trip")).await;
    let mut first = command("a");
    first.redelivered = true;
    rabbit.publish(vec![first]).await.expect("published");
    let mut stock = rabbit.consume(stock(), 10);
    let taken = take(&mut stock, 1).await.remove(0);
    assert_eq!(&taken.body[..], b"[\"a\"]");
    assert_eq!(taken.content_type.as_deref(), Some(parcel::BATCH));
    assert_eq!(taken.reply_to.as_deref(), Some("orchestrator"));
    assert!(taken.redelivered);
    assert_eq!(taken.death, None);

    let to = taken.reply_to.clone().expect("there");
    rabbit
        .publish(vec![message(Route::Reply { to, from: "stock".into() }, "answer")])
        .await
        .expect("published");
    taken.ack.ack();
    let mut replies = rabbit.consume(Queue::Replies, 10);
    let answer = take(&mut replies, 1).await.remove(0);
    assert_eq!(id(&answer), "answer");
    assert!(!answer.redelivered);
    answer.ack.ack();
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unroutable_command_is_named_and_its_neighbours_arrive() {
    let rabbit = connect(&settings("unroutable")).await;
    // All messages have the same id, and the adapter must still tell them apart.
    let lost = || message(Route::Command { participant: "nobody".into() }, "same");
    let messages = vec![command("same"), lost(), command("same"), lost(), command("same")];
    for _ in 0..20 {
        match rabbit.publish(messages.clone()).await {
            Err(PublishError::Refused(refused)) => {
                assert_eq!(refused, [(1, Refused::Unroutable), (3, Refused::Unroutable)]);
            }
            other => panic!("two were unroutable: {other:?}"),
        }
    }
    let mut stock = rabbit.consume(stock(), 100);
    take(&mut stock, 60).await;
    nothing(&mut stock).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_reply_key_reaches_no_queue() {
    let settings = settings("hostile");
    let rabbit = connect(&settings).await;
    let queue = rabbit.topology().queue(&stock());
    for to in ["", "#", "stock", "amq.rabbitmq.reply-to", &queue, &"x".repeat(300)] {
        let reply = message(Route::Reply { to: to.to_owned(), from: "stock".into() }, "hostile");
        match rabbit.publish(vec![reply]).await {
            Err(PublishError::Refused(refused)) => {
                assert_eq!(refused, [(0, Refused::Unroutable)], "{to}");
            }
            other => panic!("{to:?} is no reply key: {other:?}"),
        }
    }
    let mut stock = rabbit.consume(stock(), 1);
    nothing(&mut stock).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_a_listener_is_no_error() {
    let rabbit = connect(&settings("event")).await;
    let event = message(Route::Event { key: "order.confirmed".into() }, "event");
    rabbit.publish(vec![event, command("beside it")]).await.expect("published");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_quarantined_says_why_and_from_where() {
    let rabbit = connect(&settings("quarantine")).await;
    let route = Route::Quarantine { reason: "no JSON".into(), from: stock() };
    rabbit.publish(vec![message(route, "poison")]).await.expect("published");
    let mut quarantine = rabbit.consume(Queue::Quarantine, 10);
    let taken = take(&mut quarantine, 1).await.remove(0);
    assert_eq!(taken.headers[REASON_HEADER], "no JSON");
    assert_eq!(taken.headers[FROM_HEADER], rabbit.topology().queue(&stock()));
    assert_eq!(taken.death, None);
    taken.ack.ack();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_command_goes_to_the_quarantine() {
    let rabbit = connect(&settings("expired")).await;
    let mut late = command("late");
    late.expiry = Some(Duration::from_millis(50));
    rabbit.publish(vec![late]).await.expect("published");
    let mut quarantine = rabbit.consume(Queue::Quarantine, 10);
    let taken = take(&mut quarantine, 1).await.remove(0);
    let death = taken.death.as_ref().expect("the broker moved it");
    assert_eq!(death.reason, "expired");
    assert_eq!(death.queue, rabbit.topology().queue(&stock()));
    taken.ack.ack();
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_publishers_side_by_side_lose_none_of_a_thousand_messages() {
    let rabbit = connect(&settings("fifty")).await;
    let publisher = |number: usize| {
        let rabbit = rabbit.clone();
        async move {
            for part in 0..4 {
                let messages =
                    (0..5).map(|i| command(&format!("{number}/{part}/{i}"))).collect::<Vec<_>>();
                rabbit.publish(messages).await.expect("published");
            }
        }
    };
    join_all((0..50).map(publisher).map(tokio::spawn)).await.into_iter().for_each(|end| {
        end.expect("no panic");
    });
    let mut stock = rabbit.consume(stock(), 200);
    let mut seen = BTreeSet::new();
    while seen.len() < 1_000 {
        for taken in take(&mut stock, 1).await {
            assert!(seen.insert(id(&taken).to_owned()), "twice: {}", id(&taken));
            taken.ack.ack();
        }
    }
    rabbit.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_given_up_halfway_leaves_the_others_right() {
    let rabbit = connect(&settings("given up")).await;
    for round in 0..30 {
        let lost = message(Route::Command { participant: "nobody".into() }, "lost");
        let given_up = rabbit.publish(vec![lost; 50]);
        let patience = Duration::from_micros(100 * round);
        let _ = tokio::time::timeout(patience, given_up).await;
        rabbit.publish(vec![command(&format!("{round:02}"))]).await.expect("routable");
    }
    let mut stock = rabbit.consume(stock(), 100);
    let expected: Vec<String> = (0..30).map(|round| format!("{round:02}")).collect();
    assert_eq!(ids(&take(&mut stock, 30).await), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_longer_than_the_limit_arrives_once_as_long_as_something_is_confirmed() {
    let direct = settings("slow link");
    let address: lapin::uri::AMQPUri = direct.url.parse().expect("the broker's URL");
    let port = address.authority.port;
    let proxy = Proxy::start(port).await.expect("a port");
    let url = direct.url.replace(&format!(":{port}"), &format!(":{}", proxy.port));
    let mut slow = settings_for(url, "slow link");
    slow.publish_timeout = Duration::from_secs(2);
    let rabbit = connect(&slow).await;
    rabbit.publish(vec![command("warm")]).await.expect("published");
    // A kilobyte a second, with about 170 bytes for each message.
    proxy.set(Mode::Trickle);
    let began = std::time::Instant::now();
    let all: Vec<String> = (0..50).map(|number| format!("{number:02}")).collect();
    rabbit.publish(all.iter().map(|id| command(id)).collect()).await.expect("slow, but sure");
    let took = began.elapsed();
    assert!(took > 2 * slow.publish_timeout, "the link was not slow: {took:?}");
    proxy.set(Mode::Open);
    let mut stock = rabbit.consume(stock(), 100);
    let taken = take(&mut stock, 51).await;
    assert_eq!(ids(&taken), [&all[..], &["warm".to_owned()]].concat());
    nothing(&mut stock).await;
}
