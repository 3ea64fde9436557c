//! The participants' [`Store`]: Postgres, a SQLite file, SQLite in memory. The order service's
//! tables stand for the effect in its transactions.

mod planted;
mod records;
mod transactions;
mod watermark;

use saga_core::{Direction, Failure, Part, Record, SagaId, Timestamp};
use saga_kit::{Entry, Key, Locked, Recorded, Store};
use serde_json::value::RawValue;
use uuid::Uuid;

fn key(step: &str) -> Key {
    Key { saga: SagaId(Uuid::now_v7()), step: step.to_owned() }
}

/// Creates this many keys of one step, sorted.
fn keys(count: usize) -> Vec<Key> {
    let mut keys: Vec<Key> = (0..count).map(|_| key("reserve-stock")).collect();
    keys.sort();
    keys
}

fn answer(data: &str) -> Recorded {
    let data = RawValue::from_string(data.to_owned()).expect("JSON");
    Recorded::done("saga.test.v1.Done", data, Timestamp(1_764_000_000_123_457))
}

fn entry(key: &Key, direction: Direction, hash: &[u8], answer: Option<Recorded>) -> Entry {
    let calls = u32::from(answer.is_none());
    Entry { key: key.clone(), direction, hash: hash.to_vec(), answer, calls }
}

fn action(key: &Key, data: &str) -> Entry {
    entry(key, Direction::Action, b"hash", Some(answer(data)))
}

/// Converts a record to text: hash and answer of the action, then of the compensation.
fn text(record: &Record<Recorded>) -> [Option<(Vec<u8>, Option<String>)>; 2] {
    let text = |part: &Part<Recorded>| {
        let answer = part.answer.as_ref();
        let json = answer.map(|answer| serde_json::to_string(answer).expect("JSON"));
        (part.hash.clone(), json)
    };
    [record.action.as_ref().map(text), record.compensation.as_ref().map(text)]
}

fn is_fresh(record: &Record<Recorded>) -> bool {
    text(record) == [None, None]
}

/// Reads the records in a transaction that is dropped.
async fn look<S: Store>(store: &S, keys: &[Key]) -> Locked {
    let mut tx = store.begin().await.expect("a transaction");
    store.lock(&mut tx, keys).await.expect("the rows")
}

/// Records the entries and commits.
async fn put<S: Store>(store: &S, entries: &[Entry]) -> Result<(), Failure> {
    let mut keys: Vec<Key> = entries.iter().map(|entry| entry.key.clone()).collect();
    keys.sort();
    keys.dedup();
    let mut tx = store.begin().await?;
    store.lock(&mut tx, &keys).await?;
    store.record(&mut tx, entries).await?;
    store.commit(tx).await
}
