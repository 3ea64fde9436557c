use saga_messaging::{Queue, Refused, Route, Transport};

use super::bench::{Bench, Memory, Rabbit, message, nothing, refused, stock};

async fn holds(bench: impl Bench) {
    let transport = bench.process().await;
    let queue = bench.name(&stock());
    for to in ["", "#", "*", "stock", "amq.rabbitmq.reply-to", &queue, &"x".repeat(300)] {
        let reply = message(Route::Reply { to: to.to_owned() }, "stray");
        let refused = refused(&transport, vec![reply]).await;
        assert_eq!(refused, [(0, Refused::Unroutable)], "{to:?}");
    }
    nothing(&mut transport.consume(stock(), 1)).await;
    nothing(&mut transport.consume(Queue::Replies, 1)).await;
}

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
