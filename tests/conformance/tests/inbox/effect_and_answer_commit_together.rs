//! A service's effect and the recorded answer are one transaction: both or neither.

use saga_kit::{Key, Store};
use saga_order::table::{Orders, Reads};

use super::{action, is_fresh, look};
use crate::orders::{Book, line, order, saga};

async fn property<S: Store<Tx: Orders>, R: Reads>(book: &Book<S, R>) {
    let lines = [line("cup", 1)];
    for commit in [false, true] {
        let key = Key { saga: saga(), step: "create-order".to_owned() };
        let keys = std::slice::from_ref(&key);
        let mut tx = book.store.begin().await.expect("a transaction");
        book.store.lock(&mut tx, keys).await.expect("the row");
        tx.insert(&[order(key.saga, "Ada", &lines)]).await.expect("written");
        book.store.record(&mut tx, &[action(&key, "1")]).await.expect("written");
        if commit {
            book.store.commit(tx).await.expect("committed");
        } else {
            drop(tx);
        }
        assert_eq!(book.read(key.saga).await.is_some(), commit);
        assert_eq!(!is_fresh(&look(&book.store, keys).await.records[0]), commit);
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
