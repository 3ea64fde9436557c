//! Messages that a client library cannot read, or cannot keep in memory. Any client can send them,
//! and the broker delivers them unchanged.

use saga_messaging::{Delivery, MALFORMED_HEADER, Queue, Transport, limits};
use saga_test_support::raw_amqp::{self, Wire, flag, inner, long, nested, short, table};

use crate::setup::{command, connect, id, nothing, settings, stock, take};

/// Levels of nesting in a header's value: as many as fit into the largest frame.
const DEEPEST: usize = 26_000;

async fn publish(url: &str, messages: Vec<Wire>) {
    let url = url.to_owned();
    let publishing = tokio::task::spawn_blocking(move || raw_amqp::publish(&url, &messages));
    publishing.await.expect("no panic").expect("the broker takes them");
}

/// Returns a message of each kind that lapin alone does not survive.
fn malformed(exchange: &str, key: &[u8]) -> Vec<(&'static str, Wire)> {
    let wire = || Wire {
        exchange: exchange.to_owned(),
        key: key.to_owned(),
        body: b"[\"evil\"]".to_vec(),
        ..Wire::default()
    };
    let names: Vec<Vec<u8>> = (0..100_u8).map(|number| vec![b'n', number % 10 + b'0']).collect();
    let large: Vec<(&[u8], Vec<u8>)> =
        names.iter().map(|name| (&name[..], long(&[b'x'; 1_000]))).collect();
    let bad_name = inner(&table(&[(b"\xfe", long(b"inner"))]));
    vec![
        ("a correlation id that is not UTF-8", wire().with(flag::CORRELATION_ID, &short(b"a\xff"))),
        ("a message id that is not UTF-8", wire().with(flag::MESSAGE_ID, &short(b"\xc3\x28"))),
        (
            "a header's name that is not UTF-8",
            wire().with(flag::HEADERS, &table(&[(b"\xff", long(b"value"))])),
        ),
        (
            "an inner name that is not UTF-8",
            wire().with(flag::HEADERS, &table(&[(b"outer", bad_name)])),
        ),
        ("headers of 100 KiB", wire().with(flag::HEADERS, &table(&large))),
        (
            "a header of many levels",
            wire().with(flag::HEADERS, &table(&[(b"deep", nested(DEEPEST))])),
        ),
    ]
}

fn mark(delivery: &Delivery) -> Option<&str> {
    delivery.headers.get(MALFORMED_HEADER).map(String::as_str)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_message_comes_once_and_marked_and_takes_no_neighbour_along() {
    let settings = settings("malformed");
    let rabbit = connect(&settings).await;
    let mut consumer = rabbit.consume(stock(), 10);
    for (what, wire) in malformed(&rabbit.topology().commands(), b"stock") {
        rabbit.publish(vec![command("before")]).await.expect("published");
        publish(&settings.url, vec![wire]).await;
        rabbit.publish(vec![command("after")]).await.expect("published");
        let taken = take(&mut consumer, 3).await;
        assert!(taken.iter().all(|delivery| !delivery.redelivered), "{what}");
        assert_eq!((id(&taken[0]), mark(&taken[0])), ("before", None), "{what}");
        assert_eq!((id(&taken[2]), mark(&taken[2])), ("after", None), "{what}");
        assert!(mark(&taken[1]).is_some(), "{what}: {:?}", taken[1]);
        assert_eq!(&taken[1].body[..], b"[\"evil\"]", "{what}");
        taken.into_iter().for_each(|delivery| delivery.ack.ack());
    }
    nothing(&mut consumer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quarantine_is_emptied_whatever_is_in_it() {
    let settings = settings("malformed quarantine");
    let rabbit = connect(&settings).await;
    let mut consumer = rabbit.consume(Queue::Quarantine, 10);
    for (what, wire) in malformed(&rabbit.topology().quarantine(), b"not UTF-8: \xff") {
        publish(&settings.url, vec![wire]).await;
        let taken = take(&mut consumer, 1).await.remove(0);
        assert!(mark(&taken).is_some() && !taken.redelivered, "{what}: {taken:?}");
        taken.ack.ack();
    }
    let unmarked = Wire {
        exchange: rabbit.topology().quarantine(),
        key: b"only the key \xff".to_vec(),
        ..Wire::default()
    };
    publish(&settings.url, vec![unmarked]).await;
    let taken = take(&mut consumer, 1).await.remove(0);
    assert_eq!((mark(&taken), taken.redelivered), (None, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_bound_comes_cut_with_the_hash_of_the_whole() {
    let settings = settings("large");
    let rabbit = connect(&settings).await;
    let mut consumer = rabbit.consume(stock(), 10);
    let wire = |body: Vec<u8>| Wire {
        exchange: rabbit.topology().commands(),
        key: b"stock".to_vec(),
        body,
        ..Wire::default()
    };
    let just = vec![b'x'; limits::MAX_BODY_BYTES];
    let large = vec![b'x'; 5 * limits::MAX_BODY_BYTES];
    publish(&settings.url, vec![wire(just.clone()), wire(large)]).await;
    rabbit.publish(vec![command("after")]).await.expect("published");
    let taken = take(&mut consumer, 3).await;
    assert_eq!((taken[0].body.len(), mark(&taken[0])), (just.len(), None));
    assert!(taken[1].body.len() < limits::MAX_BODY_BYTES, "{}", taken[1].body.len());
    assert!(
        mark(&taken[1]).is_some_and(|why| why.contains("20971520 bytes")),
        "{:?}",
        taken[1].headers
    );
    let end = String::from_utf8_lossy(&taken[1].body[taken[1].body.len() - 200..]).into_owned();
    // The hash of 20 MiB of the letter that fills the body.
    let hash = "6adfa0775cbd16a3f50d1fda1d7bd7f375dd1f9af5e6dfb751a87d3dff68699c";
    assert!(end.contains(hash), "{end}");
    assert_eq!((id(&taken[2]), taken[2].redelivered), ("after", false));
}

#[test]
fn the_deployed_broker_takes_no_larger_body_than_the_roles() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/rabbitmq/saga.conf");
    let settings = std::fs::read_to_string(file).expect("it is there");
    let bound = format!("max_message_size = {}", limits::MAX_BODY_BYTES);
    assert!(settings.lines().any(|line| line == bound), "{settings}");
}
