//! The answer takes the place of the intent, and a step's other direction stays as
//! it was.

use saga_core::Direction;
use saga_kit::Store;

use super::{action, answer, entry, key, look, put, text};
use crate::orders::Book;

async fn property<S: Store, R>(book: &Book<S, R>) {
    let key = key("authorise-payment");
    let keys = std::slice::from_ref(&key);
    let undo = entry(&key, Direction::Compensation, b"undo", Some(answer("2")));
    for entry in [entry(&key, Direction::Action, b"hash", None), undo, action(&key, "1")] {
        put(&book.store, &[entry]).await.expect("it is recorded");
    }
    let locked = look(&book.store, keys).await;
    let json = |data| Some(serde_json::to_string(&answer(data)).expect("JSON"));
    let expected = [Some((b"hash".to_vec(), json("1"))), Some((b"undo".to_vec(), json("2")))];
    assert_eq!(text(&locked.records[0]), expected);
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
