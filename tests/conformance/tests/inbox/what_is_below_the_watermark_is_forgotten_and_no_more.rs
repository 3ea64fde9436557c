//! The watermark goes forward only, no further than the clock, and outlives its
//! connections; what is remembered of sagas below it is deleted, and nothing else.

use saga_core::{SagaId, Timestamp, Watermark};
use saga_kit::{Key, Pruned, Store};
use uuid::Uuid;

use super::{action, is_fresh, key, look, put};
use crate::orders::{Book, Reopen};

const DAY: i64 = 86_400_000_000;

async fn property<S: Store, R>(book: Book<S, R>)
where
    Book<S, R>: Reopen,
{
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
    assert_eq!(book.store.raise(at(20)).await, Ok(at(20)));
    assert_eq!(book.store.raise(at(25)).await, Ok(at(20)), "it never goes back");
    assert_eq!(book.store.raise(at(-2)).await, Ok(at(20)), "nor ahead of the clock");
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
    assert_eq!(book.store.raise(at(1)).await, Ok(at(1)));
    assert_eq!(book.store.prune(start, at(15), 100).await, Ok(Pruned { rows: 2, next: None }));
    assert_eq!(book.store.prune(start, at(0), 100).await, Ok(Pruned { rows: 2, next: None }));
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    property(Book::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    property(Book::sqlite()).await;
}
