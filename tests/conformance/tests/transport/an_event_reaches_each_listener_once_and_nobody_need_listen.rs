use saga_messaging::{Route, Transport};

use super::bench::{Bench, Memory, Rabbit, command, hear, message, stock, take};

async fn holds(bench: impl Bench) {
    let transport = bench.process().await;
    let event = |key: &str| message(Route::Event { key: key.to_owned() }, key);
    // Its neighbour arrives, so it was taken.
    transport.publish(vec![event("order.placed"), command("beside it")]).await.expect("confirmed");
    take(&mut transport.consume(stock(), 1), 1).await;

    let mut orders = bench.listen(&["order.*"]).await;
    let mut everything = bench.listen(&["#", "order.*", "order.confirmed"]).await;
    let mut twins =
        [bench.listen(&["order.confirmed"]).await, bench.listen(&["order.confirmed"]).await];
    let keys = ["order.confirmed", "stock.low", "order", "order.item.added"];
    transport.publish(keys.map(event).into()).await.expect("confirmed");
    assert_eq!(hear(&bench, &mut orders, 1).await, ["order.confirmed"]);
    assert_eq!(hear(&bench, &mut everything, 4).await, keys);
    for twin in &mut twins {
        assert_eq!(hear(&bench, twin, 1).await, ["order.confirmed"]);
    }
}

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
