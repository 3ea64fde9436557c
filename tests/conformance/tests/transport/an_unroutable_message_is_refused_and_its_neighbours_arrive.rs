use saga_messaging::{Refused, Route, Transport};

use super::bench::{Bench, Memory, Rabbit, command, message, nothing, refused, stock, take};

async fn holds(bench: impl Bench) {
    let transport = bench.process().await;
    // All have one id: they must be told apart all the same.
    let lost = || message(Route::Command { participant: "nobody".to_owned() }, "same");
    let messages = vec![command("same"), lost(), command("same"), lost(), command("same")];
    let expected = [(1, Refused::Unroutable), (3, Refused::Unroutable)];
    for _ in 0..10 {
        assert_eq!(refused(&transport, messages.clone()).await, expected);
    }
    let mut consumer = transport.consume(stock(), 100);
    take(&mut consumer, 30).await;
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
