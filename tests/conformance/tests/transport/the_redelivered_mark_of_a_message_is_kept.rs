use std::time::Duration;

use saga_messaging::{Message, Queue, Transport};

use super::bench::{Bench, Memory, NEVER, Rabbit, command, id, stock, take, take_one};

async fn holds(bench: impl Bench) {
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
    // In the quarantine too: the mark goes with the message.
    let late = take_one(&mut transport.consume(Queue::Quarantine, 10)).await;
    assert!(late.redelivered);
}

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
