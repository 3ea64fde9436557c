use saga_messaging::Transport;

use super::bench::{Bench, Memory, Rabbit, commands, nothing, stock, take};

async fn holds(bench: impl Bench) {
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
    // What is dropped without a word stays out as long as its consumer lives.
    drop(held);
    nothing(&mut consumer).await;
}

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
