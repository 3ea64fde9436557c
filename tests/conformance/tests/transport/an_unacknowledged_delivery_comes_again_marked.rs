use saga_messaging::Transport;

use super::bench::{Bench, Memory, Rabbit, commands, id, nothing, stock, take};

async fn holds(bench: impl Bench) {
    let (here, there) = (bench.process().await, bench.process().await);
    here.publish(commands(0..4)).await.expect("confirmed");
    let mut first = here.consume(stock(), 3);
    let mut taken = take(&mut first, 3).await;
    assert!(taken.iter().all(|delivery| !delivery.redelivered));
    // One is out with nobody who could acknowledge it, the others are in hand:
    // all come again.
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

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
