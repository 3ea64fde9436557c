//! Every shape of a record comes back as it was written.

use saga_core::{Direction, Refusal, Timestamp};
use saga_kit::{Entry, Recorded, RecordedEvent, Store};
use serde_json::value::RawValue;

use super::{answer, entry, key, look, put, text};
use crate::orders::Book;

async fn property<S: Store, R>(book: &Book<S, R>) {
    let big = format!("{{\"text\":\"{}\"}}", "x".repeat(1 << 20));
    let plain = "{\"text\":\"\u{1F375} שלום e\u{301} \\u0000 '; DROP TABLE inbox; --\"}";
    let spaced = "{ \"minorUnits\" : \"9223372036854775807\" , \"minorUnits\": \"1\" }";
    let refusal = Refusal::new("OUT_OF_STOCK", "no \u{1F375}\0 left");
    let event = RecordedEvent {
        type_name: "saga.test.v1.Happened".to_owned(),
        key: "test.happened".to_owned(),
        sequence: u32::MAX,
        data: RawValue::from_string(plain.to_owned()).expect("JSON"),
    };
    let answers = [
        None,
        Some(answer("{}")),
        Some(answer(&big)),
        Some(answer(plain)),
        // As text: neither space nor order nor repetition is lost.
        Some(answer(spaced)),
        Some(Recorded::refused(&refusal, Timestamp(i64::MAX))),
        Some(Recorded { event: Some(event), ..answer("null") }),
    ];
    let hashes: [&[u8]; 3] = [b"", b"\0\xff", &[0xa5; 32]];
    let mut entries: Vec<Entry> = Vec::new();
    for direction in [Direction::Action, Direction::Compensation] {
        for (number, answer) in answers.iter().enumerate() {
            let hash = hashes[number % hashes.len()];
            entries.push(entry(&key("step"), direction, hash, answer.clone()));
        }
    }
    put(&book.store, &entries).await.expect("they are recorded");
    entries.sort_by(|a, b| a.key.cmp(&b.key));
    let keys: Vec<_> = entries.iter().map(|entry| entry.key.clone()).collect();
    let locked = look(&book.store, &keys).await;
    for (entry, record) in entries.iter().zip(&locked.records) {
        let json = entry.answer.as_ref().map(|a| serde_json::to_string(a).expect("JSON"));
        let part = Some((entry.hash.clone(), json));
        let expected = match entry.direction {
            Direction::Action => [part, None],
            Direction::Compensation => [None, part],
        };
        assert!(text(record) == expected, "{entry:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    property(&Book::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    property(&Book::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory() {
    property(&Book::in_memory()).await;
}
