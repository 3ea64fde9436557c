//! What was committed is there after all connections were closed.

use saga_kit::Store;

use super::{action, keys, look, put, text};
use crate::orders::{Book, Reopen};

async fn property<S: Store, R>(book: Book<S, R>)
where
    Book<S, R>: Reopen,
{
    let keys = keys(5);
    let entries: Vec<_> = keys.iter().map(|key| action(key, "\"kept\"")).collect();
    put(&book.store, &entries).await.expect("they are recorded");
    let before = look(&book.store, &keys).await;
    let book = book.reopen().await;
    let after = look(&book.store, &keys).await;
    let texts = |locked: &saga_kit::Locked| locked.records.iter().map(text).collect::<Vec<_>>();
    assert_eq!(texts(&after), texts(&before));
    assert_eq!(book.probe.number("SELECT count(*) FROM inbox").await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    property(Book::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    property(Book::sqlite()).await;
}
