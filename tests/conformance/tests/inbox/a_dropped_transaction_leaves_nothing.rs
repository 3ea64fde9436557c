//! Without a commit nothing stays, not even the row that was locked.

use saga_kit::Store;

use super::{action, is_fresh, keys, look};
use crate::orders::Book;

async fn property<S: Store, R>(book: &Book<S, R>) {
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
