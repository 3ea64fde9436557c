use saga_messaging::Transport;

use super::bench::{Bench, Memory, Rabbit, commands, ids, nothing, stock, take};

async fn holds(bench: impl Bench) {
    let (here, there) = (bench.process().await, bench.process().await);
    let (mut one, mut other) = (here.consume(stock(), 5), there.consume(stock(), 5));
    here.publish(commands(0..12)).await.expect("confirmed");
    // Neither can have all of them, and nobody acknowledges.
    let (ones, others) = (take(&mut one, 5).await, take(&mut other, 5).await);
    let mut all: Vec<usize> = ids(&ones)
        .into_iter()
        .chain(ids(&others))
        .map(|id| id.parse().expect("a number"))
        .collect();
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(0..10));
    // Whoever has room gets the rest.
    for delivery in others {
        delivery.ack.ack();
    }
    assert_eq!(ids(&take(&mut other, 2).await), ["10", "11"]);
    nothing(&mut one).await;
}

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
