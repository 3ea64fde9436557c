//! What has no lines is still found, alone and in a page.

use saga_kit::Store;
use saga_order::table::{Orders, Reads};

use super::{Book, everything, line, order, saga};

async fn property<S: Store<Tx: Orders>, R: Reads>(book: &Book<S, R>) {
    let (empty, full) = (saga(), saga());
    let lines = [line("cup", 1)];
    let batch = [order(empty, "Ada", &[]), order(full, "Ada", &lines)];
    book.insert(&batch).await.expect("they are new");
    let read = book.read(empty).await.expect("it exists");
    assert_eq!((read.customer.as_str(), read.lines.len()), ("Ada", 0));
    let counts: Vec<_> = book.page(&everything()).await.iter().map(|o| o.lines.len()).collect();
    assert_eq!(counts, [1, 0]);
    assert_eq!(book.read(saga()).await, None);
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
