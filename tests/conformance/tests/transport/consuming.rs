//! Consuming: deliveries, acknowledgements, and messages that come again.

use std::time::Duration;

use saga_messaging::{Message, PublishError, Queue, Route, Transport};

use super::bench::{
    self, Bench, NEVER, SOON, command, commands, id, ids, message, nothing, stock, take, take_one,
};

holds_on! { bench::{in_process, rabbitmq}:
    an_acknowledged_delivery_never_comes_again,
    an_unacknowledged_delivery_comes_again_marked,
    what_comes_back_comes_before_what_was_waiting,
    what_is_in_hand_when_its_consumer_ends_can_still_be_acknowledged,
    what_is_held_for_ever_after_its_consumer_ended_comes_again,
    no_more_than_the_prefetch_is_out,
    two_consumers_share_a_queue_without_overlap,
    the_redelivered_mark_of_a_message_is_kept,
    closing_ends_the_consumers,
}

async fn an_acknowledged_delivery_never_comes_again(bench: impl Bench) {
    let transport = bench.process().await;
    transport.publish(commands(0..20)).await.expect("confirmed");
    let mut first = transport.consume(stock(), 20);
    let mut kept = Vec::new();
    for delivery in take(&mut first, 20).await {
        // Acknowledging a later delivery does not acknowledge an earlier one.
        if ["3", "11"].contains(&id(&delivery)) {
            kept.push(delivery);
        } else {
            delivery.ack.ack();
        }
    }
    drop(kept);
    drop(first);
    let mut second = transport.consume(stock(), 20);
    assert_eq!(ids(&take(&mut second, 2).await), ["3", "11"]);
    nothing(&mut second).await;
}

async fn an_unacknowledged_delivery_comes_again_marked(bench: impl Bench) {
    let (here, there) = (bench.process().await, bench.process().await);
    here.publish(commands(0..4)).await.expect("confirmed");
    let mut first = here.consume(stock(), 3);
    let mut taken = take(&mut first, 3).await;
    assert!(taken.iter().all(|delivery| !delivery.redelivered));
    // One delivery can no longer be acknowledged, and the others are dropped too: all come again.
    drop(taken.remove(1));
    drop(first);
    drop(taken);
    let mut second = there.consume(stock(), 10);
    let taken = take(&mut second, 4).await;
    let mut marked: Vec<(&str, bool)> =
        taken.iter().map(|delivery| (id(delivery), delivery.redelivered)).collect();
    marked.sort_unstable();
    assert_eq!(marked, [("0", true), ("1", true), ("2", true), ("3", false)]);
    nothing(&mut second).await;
}

async fn what_comes_back_comes_before_what_was_waiting(bench: impl Bench) {
    let transport = bench.process().await;
    transport.publish(commands(0..10)).await.expect("confirmed");
    let mut first = transport.consume(stock(), 4);
    drop(take(&mut first, 4).await);
    drop(first);
    tokio::time::sleep(NEVER).await;
    let mut second = transport.consume(stock(), 10);
    let taken = take(&mut second, 10).await;
    assert_eq!(ids(&taken), ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let marked = taken.iter().filter(|delivery| delivery.redelivered).count();
    assert_eq!(marked, 4);
}

async fn what_is_in_hand_when_its_consumer_ends_can_still_be_acknowledged(bench: impl Bench) {
    let transport = bench.process().await;
    transport.publish(commands(0..3)).await.expect("confirmed");
    let mut first = transport.consume(stock(), 10);
    let mut taken = take(&mut first, 3).await;
    drop(first);
    let mut second = transport.consume(stock(), 10);
    // No other consumer gets the message while it is being handled.
    nothing(&mut second).await;
    taken.remove(0).ack.ack();
    drop(taken);
    assert_eq!(ids(&take(&mut second, 2).await), ["1", "2"]);
    nothing(&mut second).await;
}

async fn what_is_held_for_ever_after_its_consumer_ended_comes_again(bench: impl Bench) {
    let transport = bench.process().await;
    transport.publish(commands(0..1)).await.expect("confirmed");
    let mut first = transport.consume(stock(), 1);
    let held = take_one(&mut first).await;
    drop(first);
    // The first consumer may take 5 s to settle its deliveries.
    let mut second = transport.consume(stock(), 1);
    let again = take_one(&mut second).await;
    assert!(again.redelivered);
    // A late acknowledgement of the first delivery does not affect the second one.
    held.ack.ack();
    drop(again);
    drop(second);
    let again = take_one(&mut transport.consume(stock(), 1)).await;
    assert!(again.redelivered);
}

async fn no_more_than_the_prefetch_is_out(bench: impl Bench) {
    let transport = bench.process().await;
    transport.publish(commands(0..20)).await.expect("confirmed");
    let mut consumer = transport.consume(stock(), 5);
    let mut held = take(&mut consumer, 5).await;
    nothing(&mut consumer).await;
    for delivery in held.drain(..2) {
        delivery.ack.ack();
    }
    held.extend(take(&mut consumer, 2).await);
    nothing(&mut consumer).await;
    // A delivery that is dropped without an acknowledgement comes again only after its
    // consumer's end.
    drop(held);
    nothing(&mut consumer).await;
}

async fn two_consumers_share_a_queue_without_overlap(bench: impl Bench) {
    let (here, there) = (bench.process().await, bench.process().await);
    let (mut one, mut other) = (here.consume(stock(), 5), there.consume(stock(), 5));
    here.publish(commands(0..12)).await.expect("confirmed");
    // Neither consumer can hold all messages, and nobody acknowledges.
    let (ones, others) = (take(&mut one, 5).await, take(&mut other, 5).await);
    let mut all: Vec<usize> = ids(&ones)
        .into_iter()
        .chain(ids(&others))
        .map(|id| id.parse().expect("a number"))
        .collect();
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(0..10));
    // A consumer with room gets the rest.
    for delivery in others {
        delivery.ack.ack();
    }
    assert_eq!(ids(&take(&mut other, 2).await), ["10", "11"]);
    nothing(&mut one).await;
}

async fn the_redelivered_mark_of_a_message_is_kept(bench: impl Bench) {
    let transport = bench.process().await;
    let marked = Message { redelivered: true, ..command("marked") };
    let expiry = Some(Duration::from_millis(1));
    let late = Message { redelivered: true, expiry, ..command("late") };
    transport.publish(vec![late, marked, command("fresh")]).await.expect("confirmed");
    tokio::time::sleep(NEVER).await;
    let mut consumer = transport.consume(stock(), 10);
    let taken = take(&mut consumer, 2).await;
    let marks: Vec<(&str, bool)> =
        taken.iter().map(|delivery| (id(delivery), delivery.redelivered)).collect();
    assert_eq!(marks, [("marked", true), ("fresh", false)]);
    // The mark stays with a message in the quarantine.
    let late = take_one(&mut transport.consume(Queue::Quarantine, 10)).await;
    assert!(late.redelivered);
}

async fn closing_ends_the_consumers(bench: impl Bench) {
    let (closed, other) = (bench.process().await, bench.process().await);
    closed.publish(commands(0..3)).await.expect("confirmed");
    let mut consumer = closed.consume(stock(), 2);
    let mut in_hand = take(&mut consumer, 2).await;
    let replies = closed.consume(Queue::Replies, 1);
    let closing = tokio::spawn({
        let closed = closed.clone();
        async move {
            let mut replies = replies;
            let ended = tokio::time::timeout(SOON, replies.next(1)).await;
            (ended.expect("it ends").len(), closed)
        }
    });
    let ((), answered) = tokio::join!(bench.close(closed), async {
        let (left, closed) = closing.await.expect("no panic");
        assert_eq!(left, 0, "the end shows as nothing");
        // Messages in hand can still be answered and acknowledged; the connection closes only then.
        let reply =
            message(Route::Reply { to: "orchestrator".to_owned(), from: "stock".into() }, "answer");
        closed.publish(vec![reply]).await.expect("confirmed");
        in_hand.remove(0).ack.ack();
        drop(in_hand);
        let rest = tokio::time::timeout(SOON, consumer.next(10)).await.expect("it ends");
        assert!(rest.is_empty(), "{rest:?}");
        closed
    });
    let published = answered.publish(commands(9..10)).await;
    assert!(matches!(published, Err(PublishError::Unavailable(_))), "{published:?}");
    let late = tokio::time::timeout(SOON, answered.consume(stock(), 1).next(1)).await;
    assert!(late.expect("it ends at once").is_empty());

    // Another process receives the messages that the closed one left.
    let mut consumer = other.consume(stock(), 10);
    let taken = take(&mut consumer, 2).await;
    let mut left = ids(&taken);
    left.sort_unstable();
    assert_eq!(left, ["1", "2"]);
    assert_eq!(ids(&take(&mut other.consume(Queue::Replies, 1), 1).await), ["answer"]);
}
