//! An order keeps its first form: neither customer nor lines nor time change.

use saga_kit::Store;
use saga_order::table::{Orders, Reads};

use super::{Book, line, order, saga};

async fn property<S: Store<Tx: Orders>, R: Reads>(book: &Book<S, R>) {
    let id = saga();
    let lines = [line("cup", 1), line("teapot", 2)];
    book.insert(&[order(id, "Ada", &lines)]).await.expect("it is new");
    let first = book.read(id).await.expect("it exists");
    let others = [line("kettle", 9)];
    let more = [line("cup", 7), line("teapot", 7), line("saucer", 7)];
    for lines in [&others[..], &more[..], &[]] {
        assert_eq!(book.insert(&[order(id, "Bob", lines)]).await, Ok(vec![]));
        assert_eq!(book.read(id).await.as_ref(), Some(&first));
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
