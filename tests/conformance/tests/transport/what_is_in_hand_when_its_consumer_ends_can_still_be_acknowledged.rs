use saga_messaging::Transport;

use super::bench::{Bench, Memory, Rabbit, commands, ids, nothing, stock, take};

async fn holds(bench: impl Bench) {
    let transport = bench.process().await;
    transport.publish(commands(0..3)).await.expect("confirmed");
    let mut first = transport.consume(stock(), 10);
    let mut taken = take(&mut first, 3).await;
    drop(first);
    let mut second = transport.consume(stock(), 10);
    // Nobody else gets it while it is being handled.
    nothing(&mut second).await;
    taken.remove(0).ack.ack();
    drop(taken);
    assert_eq!(ids(&take(&mut second, 2).await), ["1", "2"]);
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
