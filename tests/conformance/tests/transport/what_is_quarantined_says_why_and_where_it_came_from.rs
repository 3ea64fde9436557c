use saga_messaging::{FROM_HEADER, Message, Queue, REASON_HEADER, Route, Transport};

use super::bench::{Bench, Memory, Rabbit, message, stock, take};

async fn holds(bench: impl Bench) {
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

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
