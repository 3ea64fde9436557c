//! Ids are bytes without a sign: their records come in the order of the keys.

use saga_core::SagaId;
use saga_kit::{Key, Store};
use uuid::Uuid;

use super::{action, look, put, text};
use crate::orders::Book;

async fn property<S: Store, R>(book: &Book<S, R>) {
    let mut keys: Vec<Key> = [0, 1, 0x7f, 0x80, 0xff]
        .into_iter()
        .flat_map(|byte| [Uuid::from_bytes([byte; 16]), Uuid::from_u128(u128::from(byte) << 64)])
        .map(|id| Key { saga: SagaId(id), step: "step".to_owned() })
        .collect();
    keys.sort();
    keys.dedup();
    let entries: Vec<_> =
        keys.iter().enumerate().map(|(n, key)| action(key, &n.to_string())).collect();
    put(&book.store, &entries).await.expect("they are recorded");
    for (entry, record) in entries.iter().zip(&look(&book.store, &keys).await.records) {
        let json = serde_json::to_string(&entry.answer).expect("JSON");
        assert_eq!(text(record), [Some((entry.hash.clone(), Some(json))), None]);
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
