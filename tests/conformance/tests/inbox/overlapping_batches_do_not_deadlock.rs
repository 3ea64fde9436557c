//! Batches that share keys wait for one another, in one order.

use futures::future::join_all;
use saga_kit::Store;

use super::{action, keys, put};
use crate::orders::Book;

pub(super) async fn property<S: Store, R>(book: &Book<S, R>) {
    let all = keys(30);
    let replicas = (0..8).map(|replica| {
        let (store, all) = (book.store.clone(), all.clone());
        tokio::spawn(async move {
            for round in 0..10 {
                let start = (replica * 3 + round) % 20;
                let batch = all[start..start + 10].iter();
                // A deadlock would be a conflict, which is not tried again here.
                let batch: Vec<_> = batch.map(|key| action(key, "1")).collect();
                put(&store, &batch).await.expect("no conflict");
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
