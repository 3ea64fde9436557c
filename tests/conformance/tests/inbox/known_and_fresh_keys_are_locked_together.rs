//! A batch of old and new keys gets each its own record.

use saga_kit::Store;

use super::{action, is_fresh, keys, look, put};
use crate::orders::Book;

async fn property<S: Store, R>(book: &Book<S, R>) {
    let keys = keys(256);
    let known = |number: &usize| number.is_multiple_of(3);
    let entries: Vec<_> = (0..keys.len())
        .filter(known)
        .map(|number| action(&keys[number], &number.to_string()))
        .collect();
    put(&book.store, &entries).await.expect("they are recorded");
    for (number, record) in look(&book.store, &keys).await.records.iter().enumerate() {
        assert_eq!(!is_fresh(record), known(&number));
        let answer = record.action.as_ref().and_then(|part| part.answer.as_ref());
        let data = answer.map(|answer| answer.data.get().to_owned());
        assert_eq!(data, known(&number).then(|| number.to_string()));
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
