use saga_messaging::{PublishError, Queue, Route, Transport};

use super::bench::{Bench, Memory, Rabbit, SOON, commands, ids, message, stock, take};

async fn holds(bench: impl Bench) {
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
        // What is in hand can still be answered and acknowledged; only then is it closed.
        let reply = message(Route::Reply { to: "orchestrator".to_owned() }, "answer");
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

    // Another process goes on, with what the closed one left.
    let mut consumer = other.consume(stock(), 10);
    let taken = take(&mut consumer, 2).await;
    let mut left = ids(&taken);
    left.sort_unstable();
    assert_eq!(left, ["1", "2"]);
    assert_eq!(ids(&take(&mut other.consume(Queue::Replies, 1), 1).await), ["answer"]);
}

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
