use std::collections::BTreeSet;

use saga_messaging::{Death, Queue, Transport};

use super::bench::{
    Bench, DELIVERY_LIMIT, Memory, Rabbit, command, id, nothing, stock, take, take_one,
};

async fn holds(bench: impl Bench) {
    let transport = bench.process().await;
    let killer = command("killer");
    transport.publish(vec![command("before"), killer, command("after")]).await.expect("confirmed");
    let mut quarantine = transport.consume(Queue::Quarantine, 10);
    let mut deliveries = 0;
    let mut neighbours = BTreeSet::new();
    let mut victim = transport.consume(stock(), 1);
    let dead = loop {
        tokio::select! {
            taken = victim.next(1) => for delivery in taken {
                if id(&delivery) == "killer" {
                    deliveries += 1;
                    assert_eq!(delivery.redelivered, deliveries > 1);
                    // It has taken nothing else, and falls over now.
                    victim = transport.consume(stock(), 1);
                } else {
                    neighbours.insert(id(&delivery).to_owned());
                    delivery.ack.ack();
                }
            },
            dead = take_one(&mut quarantine) => break dead,
        }
        assert!(deliveries < 10, "no limit");
    };
    drop(victim);
    assert_eq!(id(&dead), "killer");
    let death = Death { queue: bench.name(&stock()), reason: "delivery_limit".to_owned() };
    assert_eq!(dead.death, Some(death));
    assert_eq!(deliveries, DELIVERY_LIMIT + 1, "the first, and then as often as it may come again");
    dead.ack.ack();
    let mut healthy = transport.consume(stock(), 10);
    for delivery in take(&mut healthy, 2 - neighbours.len()).await {
        neighbours.insert(id(&delivery).to_owned());
    }
    assert_eq!(neighbours, BTreeSet::from(["before".to_owned(), "after".to_owned()]));
    nothing(&mut quarantine).await;
}

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
