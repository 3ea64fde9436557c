//! What was locked and dropped is nobody's: the next one finds it fresh.

use std::time::Duration;

use saga_kit::Store;

use super::{action, is_fresh, key};
use crate::orders::Book;

async fn property<S: Store, R>(book: &Book<S, R>) {
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
