//! Of many that want to undo one recorded action at once, one is first, and every
//! other sees that it is undone.

use futures::future::join_all;
use saga_core::Direction;
use saga_kit::Store;

use super::{action, answer, entry, key, put};
use crate::orders::Book;

const CONTENDERS: usize = 12;

pub(super) async fn property<S: Store, R>(book: &Book<S, R>) {
    for _ in 0..5 {
        let key = key("reserve-stock");
        put(&book.store, &[action(&key, "1")]).await.expect("it is recorded");
        let contenders = (0..CONTENDERS).map(|_| {
            let (store, key) = (book.store.clone(), key.clone());
            tokio::spawn(async move {
                let mut tx = store.begin().await.expect("a transaction");
                let locked = store.lock(&mut tx, std::slice::from_ref(&key)).await;
                let record = locked.expect("no conflict").records.remove(0);
                assert!(record.action.is_some(), "the action is on record");
                if record.compensation.is_some() {
                    return false;
                }
                tokio::task::yield_now().await;
                let undone = entry(&key, Direction::Compensation, b"undo", Some(answer("2")));
                store.record(&mut tx, &[undone]).await.expect("written");
                store.commit(tx).await.expect("committed");
                true
            })
        });
        let first = join_all(contenders)
            .await
            .into_iter()
            .filter(|first| *first.as_ref().expect("no panic"));
        assert_eq!(first.count(), 1, "it was undone once");
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
