use std::time::Duration;

use saga_messaging::{Death, Message, Queue, REASON_HEADER, Transport};

use super::bench::{Bench, Memory, NEVER, Rabbit, command, id, ids, stock, take, take_one};

async fn holds(bench: impl Bench) {
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
    // Nobody said why, so nobody can be quoted.
    assert_eq!(dead.headers.get(REASON_HEADER), None);
}

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
