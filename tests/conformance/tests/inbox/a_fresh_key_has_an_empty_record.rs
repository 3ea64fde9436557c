//! Of what was never seen nothing is known, of one key or of a whole batch's.

use saga_kit::{Key, Store};

use super::{is_fresh, keys, look};
use crate::orders::Book;

async fn property<S: Store, R>(book: &Book<S, R>) {
    for count in [1, 256] {
        let keys: Vec<Key> = keys(count);
        let locked = look(&book.store, &keys).await;
        assert_eq!(locked.records.len(), count);
        assert!(locked.records.iter().all(is_fresh));
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
