//! Locking gives what was ordered, in the order in which it was ordered; what does
//! not exist is left out.

use std::collections::HashMap;

use saga_kit::Store;
use saga_order::{
    rule::{Known, Status},
    table::{Orders, Reads},
};
use saga_proto::types::v1::Line;

use super::{Book, line, order, saga};

async fn property<S: Store<Tx: Orders>, R: Reads>(book: &Book<S, R>) {
    // More than nine, so that numbers ordered as text would show.
    let many: Vec<Line> =
        (0..100).map(|n| line(&format!("sku{}", (n * 37) % 100), n + 1)).collect();
    let few = [line("z", i64::MAX), line("A", 1), line("\u{1F375}", 2)];
    let (a, b, unknown) = (saga(), saga(), saga());
    let batch = [order(a, "Ada", &many), order(b, "Bob", &few)];
    book.insert(&batch).await.expect("they are new");
    let mut tx = book.store.begin().await.expect("a transaction");
    let locked = tx.lock(&[b, unknown, a]).await.expect("the rows");
    let known = |lines: &[Line]| Known { status: Status::Pending, lines: lines.to_vec() };
    assert_eq!(locked, HashMap::from([(a, known(&many)), (b, known(&few))]));
    assert_eq!(tx.lock(&[]).await, Ok(HashMap::new()));
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
