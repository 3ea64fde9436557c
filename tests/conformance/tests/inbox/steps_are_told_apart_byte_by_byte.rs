//! Case, trailing space and the two spellings of an accent make different steps;
//! and records come in the order of bytes, whatever the database's language.

use saga_core::SagaId;
use saga_kit::{Key, Store};
use uuid::Uuid;

use super::{action, is_fresh, look, put, text};
use crate::orders::Book;

async fn property<S: Store, R>(book: &Book<S, R>) {
    let saga = SagaId(Uuid::now_v7());
    let steps = [
        "",
        " ",
        "-a",
        "A",
        "B",
        "a",
        "a ",
        "a-b",
        "a.b",
        "aB",
        "a_b",
        "ab",
        "b",
        "z",
        "e\u{301}",
        "\u{e9}",
        "\u{df}",
        "ss",
        "\u{ff5a}",
        "\u{1F375}",
        "10",
        "9",
    ];
    let mut keys: Vec<Key> =
        steps.iter().map(|step| Key { saga, step: (*step).to_owned() }).collect();
    keys.sort();
    for (number, key) in keys.iter().enumerate() {
        assert!(
            is_fresh(&look(&book.store, std::slice::from_ref(key)).await.records[0]),
            "{key:?}"
        );
        put(&book.store, &[action(key, &number.to_string())]).await.expect("it is recorded");
    }
    for (number, record) in look(&book.store, &keys).await.records.iter().enumerate() {
        let action = action(&keys[number], &number.to_string());
        let json = serde_json::to_string(&action.answer).expect("JSON");
        assert_eq!(text(record), [Some((action.hash, Some(json))), None]);
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
