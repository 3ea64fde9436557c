//! The watermark and the pruning of records below it.

use std::time::Duration;

use saga_core::{Direction, Failure, LEAST_RETENTION, SagaId, Timestamp, Watermark};
use saga_kit::{Key, Locked, Pruned, Store};
use uuid::Uuid;

use super::{action, answer, entry, is_fresh, key, look, put};
use crate::orders::{Book, Reopen};

holds_on! { Book::{postgres, sqlite}:
    what_is_below_the_watermark_is_forgotten_and_no_more,
}

holds_on! { Book::{postgres, sqlite, in_memory}:
    an_old_action_meets_its_tombstone_or_the_watermark,
}

/// The watermark goes forward only, no further than the clock, and outlives its
/// connections; what is remembered of sagas below it is deleted, and nothing else.
async fn what_is_below_the_watermark_is_forgotten_and_no_more<S: Store, R>(book: Book<S, R>)
where
    Book<S, R>: Reopen,
{
    const DAY: i64 = 86_400_000_000;
    let new = key("reserve-stock");
    let fresh = look(&book.store, std::slice::from_ref(&new)).await;
    assert_eq!(fresh.watermark, Watermark::NONE);
    let at = |days: i64| Watermark::at(Timestamp(fresh.now.0 - days * DAY));
    let old = |days: i64, step: &str| Key { saga: at(days).id(), step: step.to_owned() };
    let mut entries = vec![action(&new, "1")];
    for days in [30, 20, 10] {
        entries.extend(["a", "b"].map(|step| action(&old(days, step), "1")));
    }
    put(&book.store, &entries).await.expect("recorded");
    // No watermark, nothing to forget.
    let start = SagaId(Uuid::nil());
    assert_eq!(book.store.prune(start, at(0), 100).await, Ok(Pruned { rows: 0, next: None }));

    // Below the second: the one that is its very id is not.
    let week = LEAST_RETENTION;
    assert_eq!(book.store.raise(at(20), week).await, Ok(at(20)));
    assert_eq!(book.store.raise(at(25), week).await, Ok(at(20)), "it never goes back");
    assert_eq!(
        book.store.raise(at(-2), Duration::ZERO).await,
        Ok(at(20)),
        "nor ahead of the clock"
    );
    assert_eq!(book.store.raise(at(6), week).await, Ok(at(20)), "nor to what is too young");
    let book = book.reopen().await;
    assert_eq!(look(&book.store, std::slice::from_ref(&new)).await.watermark, at(20));
    // In mid-saga, the next batch goes on with the same one.
    let first = book.store.prune(start, at(0), 1).await.expect("pruned");
    assert_eq!(first, Pruned { rows: 1, next: Some(at(30).id()) });
    let rest = book.store.prune(at(30).id(), at(0), 100).await.expect("pruned");
    assert_eq!(rest, Pruned { rows: 1, next: None });
    let kept = [old(20, "a"), old(20, "b"), old(10, "a"), old(10, "b"), new];
    let locked = look(&book.store, &kept).await;
    assert!(locked.records.iter().all(|record| !is_fresh(record)));
    assert_eq!(book.probe.number("SELECT count(*) FROM inbox").await, 5);

    // The next one, first no further than what has settled.
    assert_eq!(book.store.raise(at(1), Duration::ZERO).await, Ok(at(1)));
    assert_eq!(book.store.prune(start, at(15), 100).await, Ok(Pruned { rows: 2, next: None }));
    assert_eq!(book.store.prune(start, at(0), 100).await, Ok(Pruned { rows: 2, next: None }));
}

/// An old action finds its tombstone, or the watermark above it, however it meets the
/// pruning: never neither.
async fn an_old_action_meets_its_tombstone_or_the_watermark<S: Store, R>(book: Book<S, R>) {
    const ROUNDS: i64 = 60;
    let now = look(&book.store, &[super::key("a")]).await.now;
    for round in 0..ROUNDS {
        // Later ones lie higher, so that each round raises the watermark.
        let made = Timestamp(now.0 - (100 * ROUNDS - round) * 1_000_000);
        let old = Key { saga: Watermark::at(made).id(), step: "reserve-stock".to_owned() };
        let tombstone = entry(&old, Direction::Compensation, b"hash", Some(answer("1")));
        put(&book.store, &[tombstone]).await.expect("recorded");
        let below = Watermark::at(made.plus_millis(1));
        book.store.raise(below, Duration::ZERO).await.expect("raised");
        let (pruner, store) = (book.store.clone(), book.store.clone());
        let forgetting =
            tokio::spawn(async move { pruner.prune(SagaId(Uuid::nil()), below, 100).await });
        let arriving = tokio::spawn(async move { arrive(&store, old).await });
        let met = arriving.await.expect("no panic");
        forgetting.await.expect("no panic").expect("pruned");
        let tombstone = met.records[0].compensation.is_some();
        let late = met.watermark.instant() > made;
        assert!(tombstone || late, "round {round}");
    }
}

/// As the kit does: a row that went in the middle of it is a conflict, and tried again.
async fn arrive<S: Store>(store: &S, key: Key) -> Locked {
    loop {
        let mut tx = store.begin().await.expect("a transaction");
        match store.lock(&mut tx, std::slice::from_ref(&key)).await {
            Ok(locked) => return locked,
            Err(Failure::Conflict(_)) => {}
            Err(failure) => panic!("{failure}"),
        }
    }
}
