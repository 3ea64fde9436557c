//! Whoever locks the same orders in another order waits, and no more.

use futures::future::join_all;
use saga_core::SagaId;
use saga_kit::Store;
use saga_order::{
    rule::End,
    table::{Orders, Reads},
};

use super::{Book, order, reason, saga};

pub(super) async fn property<S: Store<Tx: Orders>, R: Reads>(book: &Book<S, R>) {
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
