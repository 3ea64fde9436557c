//! An order is as old as the transaction that made it, to the microsecond.

use saga_kit::{Key, Store};
use saga_order::table::{Orders, Reads};

use super::{Book, order, saga};

async fn property<S: Store<Tx: Orders>, R: Reads>(book: &Book<S, R>) {
    let mut odd = false;
    for _ in 0..20 {
        let id = saga();
        let mut tx = book.store.begin().await.expect("a transaction");
        let key = Key { saga: id, step: "create-order".to_owned() };
        let now = book.store.lock(&mut tx, &[key]).await.expect("the row").now;
        tx.insert(&[order(id, "Ada", &[])]).await.expect("written");
        book.store.commit(tx).await.expect("committed");
        assert_eq!(book.read(id).await.expect("it exists").created_at_micros, now.0);
        odd |= now.0 % 1_000 != 0;
    }
    assert!(odd, "the clock has only milliseconds: nothing was shown");
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
