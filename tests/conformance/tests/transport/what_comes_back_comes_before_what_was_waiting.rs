use saga_messaging::Transport;

use super::bench::{Bench, Memory, NEVER, Rabbit, commands, ids, stock, take};

async fn holds(bench: impl Bench) {
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

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
