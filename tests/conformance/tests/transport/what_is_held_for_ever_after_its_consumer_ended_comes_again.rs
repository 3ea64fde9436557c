use saga_messaging::Transport;

use super::bench::{Bench, Memory, Rabbit, commands, stock, take_one};

async fn holds(bench: impl Bench) {
    let transport = bench.process().await;
    transport.publish(commands(0..1)).await.expect("confirmed");
    let mut first = transport.consume(stock(), 1);
    let held = take_one(&mut first).await;
    drop(first);
    // After the 5 s that it may take to settle.
    let mut second = transport.consume(stock(), 1);
    let again = take_one(&mut second).await;
    assert!(again.redelivered);
    // Too late: this says nothing of the second delivery.
    held.ack.ack();
    drop(again);
    drop(second);
    let again = take_one(&mut transport.consume(stock(), 1)).await;
    assert!(again.redelivered);
}

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
