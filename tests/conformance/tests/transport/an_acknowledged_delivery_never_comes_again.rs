use saga_messaging::Transport;

use super::bench::{Bench, Memory, Rabbit, commands, id, ids, nothing, stock, take};

async fn holds(bench: impl Bench) {
    let transport = bench.process().await;
    transport.publish(commands(0..20)).await.expect("confirmed");
    let mut first = transport.consume(stock(), 20);
    let mut kept = Vec::new();
    for delivery in take(&mut first, 20).await {
        // Acknowledging a later one says nothing of an earlier one.
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

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
