//! Two replicas work side by side as long as their sagas differ. SQLite has one
//! writer, so this is Postgres's alone.

use std::time::Duration;

use saga_kit::Store;

use super::{action, keys};
use crate::orders::Book;

async fn property<S: Store, R>(book: &Book<S, R>) {
    let all = keys(40);
    let (ours, theirs): (Vec<_>, Vec<_>) =
        all.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    let keys = |half: Vec<(usize, _)>| half.into_iter().map(|(_, key)| key).collect::<Vec<_>>();
    let (ours, theirs) = (keys(ours), keys(theirs));
    let mut open = book.store.begin().await.expect("a transaction");
    book.store.lock(&mut open, &ours).await.expect("the rows");
    let store = book.store.clone();
    let side_by_side = tokio::spawn(async move {
        let entries: Vec<_> = theirs.iter().map(|key| action(key, "1")).collect();
        super::put(&store, &entries).await
    });
    let done = tokio::time::timeout(Duration::from_secs(3), side_by_side).await;
    done.expect("it does not wait").expect("no panic").expect("committed");
    book.store.commit(open).await.expect("committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    property(&Book::postgres().await).await;
}
