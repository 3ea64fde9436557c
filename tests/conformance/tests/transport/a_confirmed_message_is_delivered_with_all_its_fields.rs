use saga_messaging::{Message, Queue, Route, Transport, parcel};

use super::bench::{Bench, Memory, Rabbit, command, id, message, stock, take, take_one};

async fn holds(bench: impl Bench) {
    let transport = bench.process().await;
    let asked = Message { reply_to: Some("somebody".to_owned()), ..command("asked") };
    transport.publish(vec![command("plain"), asked]).await.expect("confirmed");
    let mut consumer = transport.consume(stock(), 10);
    let taken = take(&mut consumer, 2).await;
    // The adapter says where the answer goes, unless the sender did.
    for (delivery, (id, reply_to)) in
        taken.iter().zip([("plain", "orchestrator"), ("asked", "somebody")])
    {
        assert_eq!(delivery.message_id.as_deref(), Some(id));
        assert_eq!(delivery.body, format!("[\"{id}\"]"));
        assert_eq!(delivery.content_type.as_deref(), Some(parcel::BATCH));
        assert_eq!(delivery.reply_to.as_deref(), Some(reply_to));
        assert_eq!(delivery.death, None);
        assert!(!delivery.redelivered);
    }

    let to = taken[0].reply_to.clone().expect("checked above");
    let answer = Message { content_type: parcel::SINGLE, ..message(Route::Reply { to }, "answer") };
    transport.publish(vec![answer]).await.expect("confirmed");
    let mut replies = bench.process().await.consume(Queue::Replies, 10);
    let answer = take_one(&mut replies).await;
    assert_eq!(id(&answer), "answer");
    assert_eq!(answer.content_type.as_deref(), Some(parcel::SINGLE));
    assert_eq!(answer.reply_to, None);
}

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
