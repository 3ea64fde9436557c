//! Row locks: one transaction at a time decides on an order.

use std::collections::HashMap;

use futures::future::join_all;
use saga_core::SagaId;
use saga_kit::Store;
use saga_order::{
    rule::{End, Known, Status},
    table::{Orders, Reads},
};
use saga_proto::types::v1::Line;

use super::{Book, line, order, reason, saga};

holds_on! { Book::{postgres, sqlite, in_memory}:
    lines_are_locked_in_their_order,
    locks_in_opposite_order_do_not_deadlock,
    of_many_that_end_an_order_at_once_one_finds_it_pending,
}

/// Locking returns each order's lines in the sequence in which they were ordered, and leaves out
/// orders that do not exist.
async fn lines_are_locked_in_their_order<S: Store<Tx: Orders>, R: Reads>(book: Book<S, R>) {
    // More than nine lines, to detect numbers that are sorted as text.
    let many: Vec<Line> =
        (0..100).map(|n| line(&format!("sku{}", (n * 37) % 100), n + 1)).collect();
    let few = [line("z", i64::MAX), line("A", 1), line("\u{1F375}", 2)];
    let (a, b, unknown) = (saga(), saga(), saga());
    let batch = [order(a, "Ada", &many), order(b, "Bob", &few)];
    book.insert(&batch).await.expect("they are new");
    let mut tx = book.store.begin().await.expect("a transaction");
    let locked = tx.lock(&[b, unknown, a]).await.expect("the rows");
    let known = |lines: &[Line]| Known { status: Status::Pending, lines: lines.to_vec() };
    assert_eq!(locked, HashMap::from([(a, known(&many)), (b, known(&few))]));
    assert_eq!(tx.lock(&[]).await, Ok(HashMap::new()));
}

/// Transactions that lock the same orders in different sequences wait for each other, but do not
/// deadlock.
pub(super) async fn locks_in_opposite_order_do_not_deadlock<S: Store<Tx: Orders>, R: Reads>(
    book: Book<S, R>,
) {
    let ids: Vec<SagaId> = (0..40).map(|_| saga()).collect();
    let batch: Vec<_> = ids.iter().map(|id| order(*id, "Ada", &[])).collect();
    book.insert(&batch).await.expect("they are new");
    let replicas = (0..8).map(|replica| {
        let (store, mut ids) = (book.store.clone(), ids.clone());
        if replica % 2 == 1 {
            ids.reverse();
        }
        ids.rotate_left(replica * 4);
        tokio::spawn(async move {
            for _ in 0..10 {
                let mut tx = store.begin().await.expect("a transaction");
                let locked = tx.lock(&ids).await.expect("no deadlock");
                assert_eq!(locked.len(), ids.len());
                let end = |id: &SagaId| (*id, End::Rejected(reason("A", "a")));
                let ends: Vec<_> = ids.iter().map(end).collect();
                tx.end(&ends).await.expect("no deadlock");
                store.commit(tx).await.expect("committed");
            }
        })
    });
    for replica in join_all(replicas).await {
        replica.expect("no conflict");
    }
}

/// If many transactions end one order at once, one finds it pending, and the others see how it has
/// ended.
pub(super) async fn of_many_that_end_an_order_at_once_one_finds_it_pending<
    S: Store<Tx: Orders>,
    R: Reads,
>(
    book: Book<S, R>,
) {
    const CONTENDERS: usize = 8;
    for _ in 0..10 {
        let id = saga();
        book.insert(&[order(id, "Ada", &[])]).await.expect("it is new");
        let contenders = (0..CONTENDERS).map(|_| {
            let store = book.store.clone();
            tokio::spawn(async move {
                let mut tx = store.begin().await.expect("a transaction");
                let known = tx.lock(&[id]).await.expect("no conflict");
                if known[&id].status != Status::Pending {
                    return false;
                }
                tokio::task::yield_now().await;
                tx.end(&[(id, End::Rejected(reason("A", "a")))]).await.expect("no conflict");
                store.commit(tx).await.expect("committed");
                true
            })
        });
        let ended = join_all(contenders).await.into_iter();
        let first = ended.filter(|first| *first.as_ref().expect("no panic"));
        assert_eq!(first.count(), 1, "it was ended once");
    }
}
