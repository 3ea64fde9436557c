//! The database's clock stands still in a transaction, goes on between two, and
//! counts in microseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use saga_kit::Store;

use super::{key, look};
use crate::orders::Book;

async fn property<S: Store, R>(book: &Book<S, R>) {
    let mut tx = book.store.begin().await.expect("a transaction");
    let first = book.store.lock(&mut tx, &[key("a")]).await.expect("the row").now;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let again = book.store.lock(&mut tx, &[key("a")]).await.expect("the row").now;
    assert_eq!(first, again);
    drop(tx);
    let later = look(&book.store, &[key("a")]).await.now;
    assert!(later >= first.plus_millis(5), "{first:?} {later:?}");
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
    // The tests' servers run on the clock of this machine.
    assert!((i128::from(later.0) - since as i128).abs() < 60_000_000, "{later:?}");
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
