//! Records are read back as they were written and for the right key, with the clock's time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use saga_core::{Direction, Failure, Refusal, SagaId, Timestamp};
use saga_kit::{Entry, Key, Recorded, RecordedEvent, Store};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{action, answer, entry, is_fresh, key, keys, look, put, text};
use crate::orders::Book;

holds_on! { Book::{postgres, sqlite, in_memory}:
    what_is_recorded_is_read_back,
    a_fresh_key_has_an_empty_record,
    a_settlement_replaces_its_intent,
    a_call_that_was_not_sent_is_counted_back,
    known_and_fresh_keys_are_locked_together,
    nothing_to_lock_is_a_mistake,
    sagas_are_ordered_byte_by_byte,
    steps_are_told_apart_byte_by_byte,
    a_transaction_has_one_time,
}

/// Every shape of a record comes back as it was written.
async fn what_is_recorded_is_read_back<S: Store, R>(book: Book<S, R>) {
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
        // Answers are kept as text, so that spaces, the order of fields and repeated fields remain.
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

/// Keys that were never seen have empty records, one key or a whole batch.
async fn a_fresh_key_has_an_empty_record<S: Store, R>(book: Book<S, R>) {
    for count in [1, 256] {
        let keys: Vec<Key> = keys(count);
        let locked = look(&book.store, &keys).await;
        assert_eq!(locked.records.len(), count);
        assert!(locked.records.iter().all(is_fresh));
    }
}

/// The answer takes the place of the intent, and the step's other direction does not change.
async fn a_settlement_replaces_its_intent<S: Store, R>(book: Book<S, R>) {
    let key = key("authorise-payment");
    let keys = std::slice::from_ref(&key);
    let undo = entry(&key, Direction::Compensation, b"undo", Some(answer("2")));
    for entry in [entry(&key, Direction::Action, b"hash", None), undo, action(&key, "1")] {
        put(&book.store, &[entry]).await.expect("it is recorded");
    }
    let locked = look(&book.store, keys).await;
    let json = |data| Some(serde_json::to_string(&answer(data)).expect("JSON"));
    let expected = [Some((b"hash".to_vec(), json("1"))), Some((b"undo".to_vec(), json("2")))];
    assert_eq!(text(&locked.records[0]), expected);
}

/// An intent counts the calls that may have been made under it, and an undo does not change the
/// count: 0 proves that no call was made.
async fn a_call_that_was_not_sent_is_counted_back<S: Store, R>(book: Book<S, R>) {
    let key = key("authorise-payment");
    let keys = std::slice::from_ref(&key);
    for calls in [1, 2, 1, 0] {
        let intent = Entry { calls, ..entry(&key, Direction::Action, b"hash", None) };
        put(&book.store, &[intent]).await.expect("it is recorded");
        let locked = look(&book.store, keys).await;
        let action = locked.records[0].action.clone().expect("an intent");
        assert_eq!((action.calls, action.answer.is_none()), (calls, true));
    }
    let undo = entry(&key, Direction::Compensation, b"undo", Some(answer("2")));
    put(&book.store, &[Entry { calls: 7, ..undo }]).await.expect("it is recorded");
    let locked = look(&book.store, keys).await;
    assert_eq!(locked.records[0].action.as_ref().map(|action| action.calls), Some(0));
}

/// In a batch of old and new keys each key gets its own record.
async fn known_and_fresh_keys_are_locked_together<S: Store, R>(book: Book<S, R>) {
    let keys = keys(256);
    let known = |number: &usize| number.is_multiple_of(3);
    let entries: Vec<_> = (0..keys.len())
        .filter(known)
        .map(|number| action(&keys[number], &number.to_string()))
        .collect();
    put(&book.store, &entries).await.expect("they are recorded");
    for (number, record) in look(&book.store, &keys).await.records.iter().enumerate() {
        assert_eq!(!is_fresh(record), known(&number));
        let answer = record.action.as_ref().and_then(|part| part.answer.as_ref());
        let data = answer.map(|answer| answer.data.get().to_owned());
        assert_eq!(data, known(&number).then(|| number.to_string()));
    }
}

/// A batch has at least one key: without any, the call fails for good.
async fn nothing_to_lock_is_a_mistake<S: Store, R>(book: Book<S, R>) {
    let mut tx = book.store.begin().await.expect("a transaction");
    let nothing = book.store.lock(&mut tx, &[]).await;
    assert!(matches!(nothing, Err(Failure::Permanent(_))), "{nothing:?}");
}

/// Ids are compared as unsigned bytes, so records come in the order of the keys.
async fn sagas_are_ordered_byte_by_byte<S: Store, R>(book: Book<S, R>) {
    let mut keys: Vec<Key> = [0, 1, 0x7f, 0x80, 0xff]
        .into_iter()
        .flat_map(|byte| [Uuid::from_bytes([byte; 16]), Uuid::from_u128(u128::from(byte) << 64)])
        .map(|id| Key { saga: SagaId(id), step: "step".to_owned() })
        .collect();
    keys.sort();
    keys.dedup();
    let entries: Vec<_> =
        keys.iter().enumerate().map(|(n, key)| action(key, &n.to_string())).collect();
    put(&book.store, &entries).await.expect("they are recorded");
    for (entry, record) in entries.iter().zip(&look(&book.store, &keys).await.records) {
        let json = serde_json::to_string(&entry.answer).expect("JSON");
        assert_eq!(text(record), [Some((entry.hash.clone(), Some(json))), None]);
    }
}

/// Steps that differ in case, trailing space or the spelling of an accent are different steps.
/// Records come in the order of bytes, whatever the database's language.
async fn steps_are_told_apart_byte_by_byte<S: Store, R>(book: Book<S, R>) {
    let saga = SagaId(Uuid::now_v7());
    let steps = [
        "",
        " ",
        "-a",
        "A",
        "B",
        "a",
        "a ",
        "a-b",
        "a.b",
        "aB",
        "a_b",
        "ab",
        "b",
        "z",
        "e\u{301}",
        "\u{e9}",
        "\u{df}",
        "ss",
        "\u{ff5a}",
        "\u{1F375}",
        "10",
        "9",
    ];
    let mut keys: Vec<Key> =
        steps.iter().map(|step| Key { saga, step: (*step).to_owned() }).collect();
    keys.sort();
    for (number, key) in keys.iter().enumerate() {
        assert!(
            is_fresh(&look(&book.store, std::slice::from_ref(key)).await.records[0]),
            "{key:?}"
        );
        put(&book.store, &[action(key, &number.to_string())]).await.expect("it is recorded");
    }
    for (number, record) in look(&book.store, &keys).await.records.iter().enumerate() {
        let action = action(&keys[number], &number.to_string());
        let json = serde_json::to_string(&action.answer).expect("JSON");
        assert_eq!(text(record), [Some((action.hash, Some(json))), None]);
    }
}

/// The database's clock stands still within a transaction, advances between two, and counts in
/// microseconds.
async fn a_transaction_has_one_time<S: Store, R>(book: Book<S, R>) {
    let mut tx = book.store.begin().await.expect("a transaction");
    let first = book.store.lock(&mut tx, &[key("a")]).await.expect("the row").now;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let again = book.store.lock(&mut tx, &[key("a")]).await.expect("the row").now;
    assert_eq!(first, again);
    drop(tx);
    let later = look(&book.store, &[key("a")]).await.now;
    assert!(later >= first.plus_millis(5), "{first:?} {later:?}");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
    // The tests' servers run on the clock of this machine.
    assert!((i128::from(later.0) - since as i128).abs() < 60_000_000, "{later:?}");
}
