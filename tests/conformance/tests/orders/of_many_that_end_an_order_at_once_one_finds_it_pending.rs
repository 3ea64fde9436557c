//! Of many that end one order at once, one finds it pending, and every other sees how
//! it has ended.

use futures::future::join_all;
use saga_kit::Store;
use saga_order::{
    rule::{End, Status},
    table::{Orders, Reads},
};

use super::{Book, order, reason, saga};

const CONTENDERS: usize = 8;

pub(super) async fn property<S: Store<Tx: Orders>, R: Reads>(book: &Book<S, R>) {
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
