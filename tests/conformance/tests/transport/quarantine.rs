//! The quarantine: its messages come with their reasons.

use std::{collections::BTreeSet, time::Duration};

use saga_messaging::{Death, FROM_HEADER, Message, Queue, REASON_HEADER, Route, Transport};

use super::bench::{
    self, Bench, DELIVERY_LIMIT, NEVER, command, id, ids, message, nothing, stock, take, take_one,
};

holds_on! { bench::{in_process, rabbitmq}:
    what_is_quarantined_says_why_and_where_it_came_from,
    an_expired_command_goes_to_the_quarantine_with_its_death,
    what_is_delivered_too_often_goes_to_the_quarantine_and_its_neighbours_go_on,
}

async fn what_is_quarantined_says_why_and_where_it_came_from(bench: impl Bench) {
    let transport = bench.process().await;
    let poison = |reason: &str, from: Queue| {
        let route = Route::Quarantine { reason: reason.to_owned(), from };
        Message { reply_to: Some("orchestrator".to_owned()), ..message(route, "poison") }
    };
    let both = vec![poison("no JSON", stock()), poison("unknown", Queue::Replies)];
    transport.publish(both).await.expect("confirmed");
    let mut quarantine = bench.process().await.consume(Queue::Quarantine, 10);
    let taken = take(&mut quarantine, 2).await;
    for (delivery, (reason, from)) in
        taken.iter().zip([("no JSON", stock()), ("unknown", Queue::Replies)])
    {
        assert_eq!(delivery.headers[REASON_HEADER], reason);
        assert_eq!(delivery.headers[FROM_HEADER], bench.name(&from));
        assert_eq!(delivery.reply_to.as_deref(), Some("orchestrator"));
        assert_eq!(delivery.death, None);
    }
}

async fn an_expired_command_goes_to_the_quarantine_with_its_death(bench: impl Bench) {
    let transport = bench.process().await;
    let late = Message { expiry: Some(Duration::from_millis(50)), ..command("late") };
    let patient = Message { expiry: Some(Duration::from_secs(60)), ..command("patient") };
    transport.publish(vec![late, patient, command("fresh")]).await.expect("confirmed");
    tokio::time::sleep(NEVER).await;
    let mut consumer = transport.consume(stock(), 10);
    assert_eq!(ids(&take(&mut consumer, 2).await), ["patient", "fresh"]);
    let dead = take_one(&mut transport.consume(Queue::Quarantine, 10)).await;
    assert_eq!(id(&dead), "late");
    assert_eq!(dead.body, "[\"late\"]");
    assert_eq!(dead.reply_to.as_deref(), Some("orchestrator"));
    let death = Death { queue: bench.name(&stock()), reason: "expired".to_owned() };
    assert_eq!(dead.death, Some(death));
    // Nobody has given a reason, so there is no reason header.
    assert_eq!(dead.headers.get(REASON_HEADER), None);
}

async fn what_is_delivered_too_often_goes_to_the_quarantine_and_its_neighbours_go_on(
    bench: impl Bench,
) {
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
                    // The consumer holds no other message and is dropped here, as by a crash.
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
