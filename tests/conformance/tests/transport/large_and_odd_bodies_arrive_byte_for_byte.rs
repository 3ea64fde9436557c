use saga_messaging::{Message, Transport, limits};

use super::bench::{Bench, Memory, Rabbit, command, id, stock, take};

async fn holds(bench: impl Bench) {
    let transport = bench.process().await;
    // No text at all, and longer than any frame.
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

#[tokio::test]
async fn in_process() {
    holds(Memory::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq() {
    holds(Rabbit::new()).await;
}
