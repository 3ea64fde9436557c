//! A read waits for no writer and sees what is committed. In memory there is one
//! connection, so there a read would wait.

use std::time::Duration;

use saga_kit::Store;
use saga_order::{
    rule::End,
    table::{Orders, Reads},
};

use super::{Book, everything, line, order, reason, saga};

async fn property<S: Store<Tx: Orders>, R: Reads>(book: &Book<S, R>) {
    let (old, new) = (saga(), saga());
    let lines = [line("cup", 1)];
    book.insert(&[order(old, "Ada", &lines)]).await.expect("it is new");
    let before = book.read(old).await;
    let mut tx = book.store.begin().await.expect("a transaction");
    tx.insert(&[order(new, "Bob", &lines)]).await.expect("written");
    tx.lock(&[old]).await.expect("the row");
    tx.end(&[(old, End::Rejected(reason("A", "a")))]).await.expect("written");
    let reading = async {
        assert_eq!(book.read(old).await, before);
        assert_eq!(book.read(new).await, None);
        assert_eq!(book.page(&everything()).await.len(), 1);
    };
    tokio::time::timeout(Duration::from_secs(3), reading).await.expect("it waits for nobody");
    book.store.commit(tx).await.expect("committed");
    assert_eq!(book.page(&everything()).await.len(), 2);
    assert_ne!(book.read(old).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    property(&Book::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    property(&Book::sqlite()).await;
}
