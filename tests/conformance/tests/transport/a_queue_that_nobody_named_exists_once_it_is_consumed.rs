use saga_messaging::{Queue, Refused, Route, Transport};
use saga_test_support::eventually;

use super::bench::{Bench, Memory, Rabbit, SOON, id, message, refused, take_one};

async fn holds(bench: impl Bench) {
    let (here, there) = (bench.process().await, bench.process().await);
    let courier = |id: &str| message(Route::Command { participant: "courier".to_owned() }, id);
    assert_eq!(refused(&here, vec![courier("early")]).await, [(0, Refused::Unroutable)]);
    let queue = Queue::Commands { participant: "courier".to_owned() };
    let mut consumer = there.consume(queue.clone(), 1);
    eventually("the queue", SOON, async || here.publish(vec![courier("first")]).await.ok()).await;
    let taken = take_one(&mut consumer).await;
    assert_eq!(id(&taken), "first");
    taken.ack.ack();
    // It outlives its consumer.
    drop(consumer);
    here.publish(vec![courier("second")]).await.expect("confirmed");
    assert_eq!(id(&take_one(&mut here.consume(queue, 1)).await), "second");
}

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
