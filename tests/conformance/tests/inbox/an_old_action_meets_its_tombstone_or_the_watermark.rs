//! However pruning and an old action come together, the action finds its tombstone,
//! or the watermark above it: never neither.

use saga_core::{Direction, Failure, SagaId, Timestamp, Watermark};
use saga_kit::{Key, Locked, Store};
use uuid::Uuid;

use super::{answer, entry, look, put};
use crate::orders::Book;

const ROUNDS: i64 = 60;

async fn property<S: Store, R>(book: &Book<S, R>) {
    let now = look(&book.store, &[super::key("a")]).await.now;
    for round in 0..ROUNDS {
        // Later ones lie higher, so that each round raises the watermark.
        let made = Timestamp(now.0 - (100 * ROUNDS - round) * 1_000_000);
        let old = Key { saga: Watermark::at(made).id(), step: "reserve-stock".to_owned() };
        let tombstone = entry(&old, Direction::Compensation, b"hash", Some(answer("1")));
        put(&book.store, &[tombstone]).await.expect("recorded");
        let below = Watermark::at(made.plus_millis(1));
        book.store.raise(below).await.expect("raised");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres() {
    property(&Book::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite() {
    property(&Book::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_memory() {
    property(&Book::in_memory()).await;
}
