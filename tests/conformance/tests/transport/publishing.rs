//! Publishing: confirmed, refused, in order, and to every listener.

use saga_core::SagaId;
use saga_messaging::{Changed, Message, Queue, Refused, Route, Transport, limits, parcel};
use saga_test_support::eventually;
use uuid::Uuid;

use super::bench::{
    self, Bench, NEVER, SOON, command, commands, hear, id, message, nothing, refused, stock, take,
    take_one,
};

holds_on! { bench::{in_process, rabbitmq}:
    a_confirmed_message_is_delivered_with_all_its_fields,
    an_unroutable_message_is_refused_and_its_neighbours_arrive,
    a_strangers_reply_key_reaches_no_queue,
    a_queue_that_nobody_named_exists_once_it_is_consumed,
    large_and_odd_bodies_arrive_byte_for_byte,
    one_publishers_messages_keep_their_order,
    an_event_reaches_each_listener_once_and_nobody_need_listen,
    hints_reach_everyone_and_block_nobody,
}

async fn a_confirmed_message_is_delivered_with_all_its_fields(bench: impl Bench) {
    let transport = bench.process().await;
    let asked = Message { reply_to: Some("somebody".to_owned()), ..command("asked") };
    transport.publish(vec![command("plain"), asked]).await.expect("confirmed");
    let mut consumer = transport.consume(stock(), 10);
    let taken = take(&mut consumer, 2).await;
    // The adapter sets the address for the reply, unless the sender has set it.
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
    let answer = Message {
        content_type: parcel::SINGLE,
        ..message(Route::Reply { to, from: "stock".into() }, "answer")
    };
    transport.publish(vec![answer]).await.expect("confirmed");
    let mut replies = bench.process().await.consume(Queue::Replies, 10);
    let answer = take_one(&mut replies).await;
    assert_eq!(id(&answer), "answer");
    assert_eq!(answer.content_type.as_deref(), Some(parcel::SINGLE));
    assert_eq!(answer.reply_to, None);
}

async fn an_unroutable_message_is_refused_and_its_neighbours_arrive(bench: impl Bench) {
    let transport = bench.process().await;
    // All messages have one id, and must still be told apart.
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

async fn a_strangers_reply_key_reaches_no_queue(bench: impl Bench) {
    let transport = bench.process().await;
    let queue = bench.name(&stock());
    for to in ["", "#", "*", "stock", "amq.rabbitmq.reply-to", &queue, &"x".repeat(300)] {
        let reply = message(Route::Reply { to: to.to_owned(), from: "stock".into() }, "stray");
        let refused = refused(&transport, vec![reply]).await;
        assert_eq!(refused, [(0, Refused::Unroutable)], "{to:?}");
    }
    nothing(&mut transport.consume(stock(), 1)).await;
    nothing(&mut transport.consume(Queue::Replies, 1)).await;
}

async fn a_queue_that_nobody_named_exists_once_it_is_consumed(bench: impl Bench) {
    let (here, there) = (bench.process().await, bench.process().await);
    let courier = |id: &str| message(Route::Command { participant: "courier".to_owned() }, id);
    assert_eq!(refused(&here, vec![courier("early")]).await, [(0, Refused::Unroutable)]);
    let queue = Queue::Commands { participant: "courier".to_owned() };
    let mut consumer = there.consume(queue.clone(), 1);
    eventually("the queue", SOON, async || here.publish(vec![courier("first")]).await.ok()).await;
    let taken = take_one(&mut consumer).await;
    assert_eq!(id(&taken), "first");
    taken.ack.ack();
    // The queue outlives its consumer.
    drop(consumer);
    here.publish(vec![courier("second")]).await.expect("confirmed");
    assert_eq!(id(&take_one(&mut here.consume(queue, 1)).await), "second");
}

async fn large_and_odd_bodies_arrive_byte_for_byte(bench: impl Bench) {
    let transport = bench.process().await;
    // The first body is binary data, longer than any frame.
    let noise = (0..limits::MAX_PARCEL_BYTES).map(|index| (index * index / 7) as u8).collect();
    let bodies: [Vec<u8>; 5] = [
        noise,
        Vec::new(),
        (0..=u8::MAX).collect(),
        b"\0 \xff\xfe \xc3\x28 \r\n".to_vec(),
        "[\"\u{202e}\u{1f9fe} e\u{301}\"]".into(),
    ];
    let messages = bodies.iter().map(|body| {
        let body = body.clone().into();
        Message { body, ..command("odd \u{1f9fe}") }
    });
    transport.publish(messages.collect()).await.expect("confirmed");
    let mut consumer = transport.consume(stock(), 10);
    for (taken, body) in take(&mut consumer, bodies.len()).await.iter().zip(&bodies) {
        assert!(taken.body == *body, "{} bytes of {}", taken.body.len(), body.len());
        assert_eq!(id(taken), "odd \u{1f9fe}");
    }
}

async fn one_publishers_messages_keep_their_order(bench: impl Bench) {
    let transport = bench.process().await;
    let mut consumer = bench.process().await.consume(stock(), 16);
    let publishing = async {
        for part in 0..20 {
            let messages = commands(part * 25..(part + 1) * 25);
            transport.publish(messages).await.expect("confirmed");
        }
    };
    let consuming = async {
        for expected in 0..500 {
            let taken = take_one(&mut consumer).await;
            assert_eq!(id(&taken), expected.to_string());
            taken.ack.ack();
        }
    };
    tokio::join!(publishing, consuming);
}

async fn an_event_reaches_each_listener_once_and_nobody_need_listen(bench: impl Bench) {
    let transport = bench.process().await;
    let event = |key: &str| message(Route::Event { key: key.to_owned() }, key);
    // The event has no listener, and the call still succeeds: the command beside it arrives.
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

async fn hints_reach_everyone_and_block_nobody(bench: impl Bench) {
    let (here, there) = (bench.process().await, bench.process().await);
    // A receiver that never reads must not block the others.
    let _idle = there.changes();
    let (mut heard_here, mut heard_there) = (here.changes(), there.changes());
    let hint = |version| vec![Changed { saga: SagaId(Uuid::from_u128(7)), version }];
    here.announce(Vec::new());
    for heard in [&mut heard_here, &mut heard_there] {
        // Hints may be lost, so it is announced until it is received.
        let first = eventually("a hint", SOON, async || {
            here.announce(hint(3));
            tokio::time::timeout(NEVER, heard.recv()).await.ok()?.ok()
        });
        assert!(first.await.iter().all(|one| hint(3).contains(one)));
    }

    let flood = tokio::task::spawn_blocking({
        let here = here.clone();
        move || (0..20_000).for_each(|_| here.announce(vec![hint(4)[0]; 5]))
    });
    tokio::time::timeout(SOON, flood)
        .await
        .expect("announcing waits for nobody")
        .expect("no panic");
    eventually("a hint after the flood", SOON, async || {
        here.announce(hint(5));
        let hearing = async {
            // The hints of the flood come first, or were missed.
            while !heard_there.recv().await.is_ok_and(|heard| heard.contains(&hint(5)[0])) {}
        };
        tokio::time::timeout(NEVER, hearing).await.ok()
    })
    .await;
}
