//! Of a batch, those are returned that were not there.

use saga_core::SagaId;
use saga_kit::Store;
use saga_order::table::{NewOrder, Orders, Reads};

use super::{Book, line, order, saga};

async fn property<S: Store<Tx: Orders>, R: Reads>(book: &Book<S, R>) {
    let lines = [line("cup", 1), line("teapot", 2)];
    let mut ids: Vec<SagaId> = (0..300).map(|_| saga()).collect();
    ids.sort();
    let batch: Vec<NewOrder<'_>> = ids.iter().map(|id| order(*id, "Ada", &lines)).collect();
    assert_eq!(book.insert(&batch[..1]).await, Ok(vec![ids[0]]));
    assert_eq!(book.insert(&batch).await, Ok(ids[1..].to_vec()));
    assert_eq!(book.insert(&batch).await, Ok(vec![]));
    assert_eq!(book.probe.number("SELECT count(*) FROM orders").await, 300);
    assert_eq!(book.probe.number("SELECT count(*) FROM order_lines").await, 600);
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
