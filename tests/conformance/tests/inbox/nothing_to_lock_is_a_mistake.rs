//! A batch has members: no keys at all will never be right.

use saga_core::Failure;
use saga_kit::Store;

use crate::orders::Book;

async fn property<S: Store, R>(book: &Book<S, R>) {
    let mut tx = book.store.begin().await.expect("a transaction");
    let nothing = book.store.lock(&mut tx, &[]).await;
    assert!(matches!(nothing, Err(Failure::Permanent(_))), "{nothing:?}");
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
