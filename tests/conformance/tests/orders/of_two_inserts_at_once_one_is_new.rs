//! Of many that insert one order at once, one made it, and it is whole.

use futures::future::join_all;
use saga_kit::Store;
use saga_order::table::{Orders, Reads};

use super::{Book, line, order, saga};

pub(super) async fn property<S: Store<Tx: Orders>, R: Reads>(book: &Book<S, R>) {
    for _ in 0..10 {
        let id = saga();
        let inserts = (0..8_i64).map(|replica| {
            let store = book.store.clone();
            tokio::spawn(async move {
                let lines = [line("cup", replica + 1), line("teapot", replica + 1)];
                let customer = format!("customer {replica}");
                let mut tx = store.begin().await.expect("a transaction");
                let new = tx.insert(&[order(id, &customer, &lines)]).await.expect("no conflict");
                store.commit(tx).await.expect("committed");
                new.contains(&id).then_some(replica)
            })
        });
        let inserted = join_all(inserts).await.into_iter().map(|insert| insert.expect("no panic"));
        let first: Vec<i64> = inserted.flatten().collect();
        let [first] = first[..] else { panic!("one is first, not {first:?}") };
        let read = book.read(id).await.expect("it exists");
        assert_eq!(read.customer, format!("customer {first}"));
        let quantities: Vec<_> = read.lines.iter().map(|line| line.quantity).collect();
        assert_eq!(quantities, [first + 1, first + 1]);
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
