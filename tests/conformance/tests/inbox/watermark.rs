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

/// The watermark only rises, never passes the clock, and survives its connections. Pruning deletes
/// the records of sagas below it, and no others.
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
    // Without a watermark there is nothing to prune.
    let start = SagaId(Uuid::nil());
    assert_eq!(book.store.prune(start, at(0), 100).await, Ok(Pruned { rows: 0, next: None }));

    // The saga of day 20 is not below the watermark, because its id is the watermark itself.
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
    // A limit can end a batch in the middle of a saga; the next batch continues with that saga.
    let first = book.store.prune(start, at(0), 1).await.expect("pruned");
    assert_eq!(first, Pruned { rows: 1, next: Some(at(30).id()) });
    let rest = book.store.prune(at(30).id(), at(0), 100).await.expect("pruned");
    assert_eq!(rest, Pruned { rows: 1, next: None });
    let kept = [old(20, "a"), old(20, "b"), old(10, "a"), old(10, "b"), new];
    let locked = look(&book.store, &kept).await;
    assert!(locked.records.iter().all(|record| !is_fresh(record)));
    assert_eq!(book.probe.number("SELECT count(*) FROM inbox").await, 5);

    // Below the next watermark, pruning stops at the instant that it is given, here day 15.
    assert_eq!(book.store.raise(at(1), Duration::ZERO).await, Ok(at(1)));
    assert_eq!(book.store.prune(start, at(15), 100).await, Ok(Pruned { rows: 2, next: None }));
    assert_eq!(book.store.prune(start, at(0), 100).await, Ok(Pruned { rows: 2, next: None }));
}

/// However an old action and the pruning interleave, the action finds its tombstone or a watermark
/// above it, or both.
async fn an_old_action_meets_its_tombstone_or_the_watermark<S: Store, R>(book: Book<S, R>) {
    const ROUNDS: i64 = 60;
    let now = look(&book.store, &[super::key("a")]).await.now;
    for round in 0..ROUNDS {
        // Each round uses a later time, so that it raises the watermark.
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

/// Locks a key as the kit does: if the row is pruned meanwhile, the lock is a conflict and is tried
/// again.
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
