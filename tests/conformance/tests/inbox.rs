//! The participants' [`Store`]: Postgres, a SQLite file, SQLite in memory. It is
//! tried beside the order service's tables, which are its transaction's effect.

mod a_call_that_was_not_sent_is_counted_back;
mod a_dropped_transaction_leaves_nothing;
mod a_fresh_key_has_an_empty_record;
mod a_settlement_replaces_its_intent;
mod a_transaction_has_one_time;
mod an_old_action_meets_its_tombstone_or_the_watermark;
mod disjoint_keys_do_not_wait_for_one_another;
mod effect_and_answer_commit_together;
mod known_and_fresh_keys_are_locked_together;
mod nothing_to_lock_is_a_mistake;
mod of_many_compensations_at_once_one_is_first;
mod overlapping_batches_do_not_deadlock;
mod planted;
mod sagas_are_ordered_byte_by_byte;
mod steps_are_told_apart_byte_by_byte;
mod two_transactions_with_one_key_exclude_each_other;
mod what_is_below_the_watermark_is_forgotten_and_no_more;
mod what_is_committed_survives_reopening;
mod what_is_recorded_is_read_back;
mod whoever_waits_for_a_dropped_transaction_is_first;

use saga_core::{Direction, Failure, Part, Record, SagaId, Timestamp};
use saga_kit::{Entry, Key, Locked, Recorded, Store};
use serde_json::value::RawValue;
use uuid::Uuid;

fn key(step: &str) -> Key {
    Key { saga: SagaId(Uuid::now_v7()), step: step.to_owned() }
}

/// So many keys of one step, sorted.
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

/// A record as text: hash and answer of the action, then of the compensation.
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

/// What is on record, by a transaction that leaves nothing.
async fn look<S: Store>(store: &S, keys: &[Key]) -> Locked {
    let mut tx = store.begin().await.expect("a transaction");
    store.lock(&mut tx, keys).await.expect("the rows")
}

/// Records and commits.
async fn put<S: Store>(store: &S, entries: &[Entry]) -> Result<(), Failure> {
    let mut keys: Vec<Key> = entries.iter().map(|entry| entry.key.clone()).collect();
    keys.sort();
    keys.dedup();
    let mut tx = store.begin().await?;
    store.lock(&mut tx, &keys).await?;
    store.record(&mut tx, entries).await?;
    store.commit(tx).await
}
