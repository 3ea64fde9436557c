//! Of many that want one key at once, one is first, and every other sees what it
//! recorded.

use std::time::Duration;

use futures::future::join_all;
use saga_kit::Store;

use super::{action, is_fresh, key, text};
use crate::orders::Book;

const CONTENDERS: usize = 12;

pub(super) async fn property<S: Store, R>(book: &Book<S, R>) {
    for _ in 0..5 {
        let key = key("reserve-stock");
        let contenders = (0..CONTENDERS).map(|number| {
            let (store, key) = (book.store.clone(), key.clone());
            tokio::spawn(async move {
                let mut tx = store.begin().await.expect("a transaction");
                let locked = store.lock(&mut tx, std::slice::from_ref(&key)).await;
                let record = locked.expect("no conflict").records.remove(0);
                if !is_fresh(&record) {
                    return (false, text(&record));
                }
                // Long enough for the others to be there.
                tokio::time::sleep(Duration::from_millis(30)).await;
                let entry = action(&key, &number.to_string());
                store.record(&mut tx, std::slice::from_ref(&entry)).await.expect("written");
                store.commit(tx).await.expect("committed");
                let json = serde_json::to_string(&entry.answer).expect("JSON");
                (true, [Some((entry.hash, Some(json))), None])
            })
        });
        let seen = join_all(contenders).await.into_iter().map(|seen| seen.expect("no panic"));
        let seen: Vec<_> = seen.collect();
        assert_eq!(seen.iter().filter(|(first, _)| *first).count(), 1);
        assert!(seen.iter().all(|(_, record)| *record == seen[0].1), "{seen:?}");
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
