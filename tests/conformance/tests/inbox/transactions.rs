//! Transactions: whole or absent, and one after the other if they lock the same key.

use std::time::Duration;

use futures::future::join_all;
use saga_core::Direction;
use saga_kit::{Key, Store};
use saga_order::table::{Orders, Reads};

use super::{action, answer, entry, is_fresh, key, keys, look, put, text};
use crate::orders::{Book, Reopen, line, order, saga};

holds_on! { Book::{postgres, sqlite, in_memory}:
    effect_and_answer_commit_together,
    a_dropped_transaction_leaves_nothing,
    two_transactions_with_one_key_exclude_each_other,
    whoever_waits_for_a_dropped_transaction_is_first,
    of_many_compensations_at_once_one_is_first,
    overlapping_batches_do_not_deadlock,
}

holds_on! { Book::{postgres, sqlite}:
    what_is_committed_survives_reopening,
}

holds_on! { Book::{postgres}:
    disjoint_keys_do_not_wait_for_one_another,
}

/// A service's effect and the recorded answer commit together or not at all.
async fn effect_and_answer_commit_together<S: Store<Tx: Orders>, R: Reads>(book: Book<S, R>) {
    let lines = [line("cup", 1)];
    for commit in [false, true] {
        let key = Key { saga: saga(), step: "create-order".to_owned() };
        let keys = std::slice::from_ref(&key);
        let mut tx = book.store.begin().await.expect("a transaction");
        book.store.lock(&mut tx, keys).await.expect("the row");
        tx.insert(&[order(key.saga, "Ada", &lines)]).await.expect("written");
        book.store.record(&mut tx, &[action(&key, "1")]).await.expect("written");
        if commit {
            book.store.commit(tx).await.expect("committed");
        } else {
            drop(tx);
        }
        assert_eq!(book.read(key.saga).await.is_some(), commit);
        assert_eq!(!is_fresh(&look(&book.store, keys).await.records[0]), commit);
    }
}

/// Without a commit nothing stays, not even the row that was locked.
async fn a_dropped_transaction_leaves_nothing<S: Store, R>(book: Book<S, R>) {
    let keys = keys(3);
    let entries: Vec<_> = keys.iter().map(|key| action(key, "1")).collect();
    for _ in 0..3 {
        let mut tx = book.store.begin().await.expect("a transaction");
        let locked = book.store.lock(&mut tx, &keys).await.expect("the rows");
        assert!(locked.records.iter().all(is_fresh));
        book.store.record(&mut tx, &entries).await.expect("written");
        drop(tx);
    }
    assert!(look(&book.store, &keys).await.records.iter().all(is_fresh));
    assert_eq!(book.probe.number("SELECT count(*) FROM inbox").await, 0);
}

/// Committed records survive the end of all connections.
async fn what_is_committed_survives_reopening<S: Store, R>(book: Book<S, R>)
where
    Book<S, R>: Reopen,
{
    let keys = keys(5);
    let entries: Vec<_> = keys.iter().map(|key| action(key, "\"kept\"")).collect();
    put(&book.store, &entries).await.expect("they are recorded");
    let before = look(&book.store, &keys).await;
    let book = book.reopen().await;
    let after = look(&book.store, &keys).await;
    let texts = |locked: &saga_kit::Locked| locked.records.iter().map(text).collect::<Vec<_>>();
    assert_eq!(texts(&after), texts(&before));
    assert_eq!(book.probe.number("SELECT count(*) FROM inbox").await, 5);
}

/// If many transactions lock one key at once, one is first, and the others see its record.
pub(super) async fn two_transactions_with_one_key_exclude_each_other<S: Store, R>(
    book: Book<S, R>,
) {
    const CONTENDERS: usize = 12;
    for _ in 0..5 {
        let key = key("reserve-stock");
        let contenders = (0..CONTENDERS).map(|number| {
            let (store, key) = (book.store.clone(), key.clone());
            tokio::spawn(async move {
                let mut tx = store.begin().await.expect("a transaction");
                let locked = store.lock(&mut tx, std::slice::from_ref(&key)).await;
                let record = locked.expect("no conflict").records.remove(0);
                if !is_fresh(&record) {
                    return (false, text(&record));
                }
                // The pause is long enough for the other transactions to wait for the lock.
                tokio::time::sleep(Duration::from_millis(30)).await;
                let entry = action(&key, &number.to_string());
                store.record(&mut tx, std::slice::from_ref(&entry)).await.expect("written");
                store.commit(tx).await.expect("committed");
                let json = serde_json::to_string(&entry.answer).expect("JSON");
                (true, [Some((entry.hash, Some(json))), None])
            })
        });
        let seen = join_all(contenders).await.into_iter().map(|seen| seen.expect("no panic"));
        let seen: Vec<_> = seen.collect();
        assert_eq!(seen.iter().filter(|(first, _)| *first).count(), 1);
        assert!(seen.iter().all(|(_, record)| *record == seen[0].1), "{seen:?}");
    }
}

/// After a transaction that locked a key is dropped, the next one finds the key fresh.
async fn whoever_waits_for_a_dropped_transaction_is_first<S: Store, R>(book: Book<S, R>) {
    let key = key("reserve-stock");
    let keys = std::slice::from_ref(&key);
    let mut first = book.store.begin().await.expect("a transaction");
    book.store.lock(&mut first, keys).await.expect("the row");
    book.store.record(&mut first, &[action(&key, "1")]).await.expect("written");
    let second = async {
        let mut tx = book.store.begin().await.expect("a transaction");
        let locked = book.store.lock(&mut tx, keys).await.expect("the row");
        (std::time::Instant::now(), is_fresh(&locked.records[0]))
    };
    let dropping = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let dropped = std::time::Instant::now();
        drop(first);
        dropped
    };
    let ((got, fresh), dropped) = tokio::join!(second, dropping);
    assert!(got >= dropped, "it waited");
    assert!(fresh, "nothing of the first one is left");
}

/// If many transactions undo one recorded action at once, one is first, and the others see that the
/// action is undone.
pub(super) async fn of_many_compensations_at_once_one_is_first<S: Store, R>(book: Book<S, R>) {
    const CONTENDERS: usize = 12;
    for _ in 0..5 {
        let key = key("reserve-stock");
        put(&book.store, &[action(&key, "1")]).await.expect("it is recorded");
        let contenders = (0..CONTENDERS).map(|_| {
            let (store, key) = (book.store.clone(), key.clone());
            tokio::spawn(async move {
                let mut tx = store.begin().await.expect("a transaction");
                let locked = store.lock(&mut tx, std::slice::from_ref(&key)).await;
                let record = locked.expect("no conflict").records.remove(0);
                assert!(record.action.is_some(), "the action is on record");
                if record.compensation.is_some() {
                    return false;
                }
                tokio::task::yield_now().await;
                let undone = entry(&key, Direction::Compensation, b"undo", Some(answer("2")));
                store.record(&mut tx, &[undone]).await.expect("written");
                store.commit(tx).await.expect("committed");
                true
            })
        });
        let first = join_all(contenders)
            .await
            .into_iter()
            .filter(|first| *first.as_ref().expect("no panic"));
        assert_eq!(first.count(), 1, "it was undone once");
    }
}

/// Batches that share keys lock them in one order, so they wait for each other without a deadlock.
pub(super) async fn overlapping_batches_do_not_deadlock<S: Store, R>(book: Book<S, R>) {
    let all = keys(30);
    let replicas = (0..8).map(|replica| {
        let (store, all) = (book.store.clone(), all.clone());
        tokio::spawn(async move {
            for round in 0..10 {
                let start = (replica * 3 + round) % 20;
                let batch = all[start..start + 10].iter();
                // A deadlock would show as a conflict, which is not retried here.
                let batch: Vec<_> = batch.map(|key| action(key, "1")).collect();
                put(&store, &batch).await.expect("no conflict");
            }
        })
    });
    for replica in join_all(replicas).await {
        replica.expect("no conflict");
    }
}

/// Two replicas work side by side while their sagas differ. Only Postgres has this property,
/// because SQLite has one writer.
async fn disjoint_keys_do_not_wait_for_one_another<S: Store, R>(book: Book<S, R>) {
    let all = keys(40);
    let (ours, theirs): (Vec<_>, Vec<_>) =
        all.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    let keys = |half: Vec<(usize, _)>| half.into_iter().map(|(_, key)| key).collect::<Vec<_>>();
    let (ours, theirs) = (keys(ours), keys(theirs));
    let mut open = book.store.begin().await.expect("a transaction");
    book.store.lock(&mut open, &ours).await.expect("the rows");
    let store = book.store.clone();
    let side_by_side = tokio::spawn(async move {
        let entries: Vec<_> = theirs.iter().map(|key| action(key, "1")).collect();
        super::put(&store, &entries).await
    });
    let done = tokio::time::timeout(Duration::from_secs(3), side_by_side).await;
    done.expect("it does not wait").expect("no panic").expect("committed");
    book.store.commit(open).await.expect("committed");
}
