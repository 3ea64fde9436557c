//! An intent counts the calls that may have been made under it, and an undo leaves the
//! count as it is: 0 is what proves that nothing was sent.

use saga_core::Direction;
use saga_kit::{Entry, Store};

use super::{answer, entry, key, look, put};
use crate::orders::Book;

async fn property<S: Store, R>(book: &Book<S, R>) {
    let key = key("authorise-payment");
    let keys = std::slice::from_ref(&key);
    for calls in [1, 2, 1, 0] {
        let intent = Entry { calls, ..entry(&key, Direction::Action, b"hash", None) };
        put(&book.store, &[intent]).await.expect("it is recorded");
        let locked = look(&book.store, keys).await;
        let action = locked.records[0].action.clone().expect("an intent");
        assert_eq!((action.calls, action.answer.is_none()), (calls, true));
    }
    let undo = entry(&key, Direction::Compensation, b"undo", Some(answer("2")));
    put(&book.store, &[Entry { calls: 7, ..undo }]).await.expect("it is recorded");
    let locked = look(&book.store, keys).await;
    assert_eq!(locked.records[0].action.as_ref().map(|action| action.calls), Some(0));
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
