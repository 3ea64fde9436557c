//! Of returns that are opened at once for the same order, each sees what the others hold.

use futures::future::join_all;
use saga_core::{Failure, SagaId};
use saga_kit::Store;
use saga_order::{
    returns,
    rule::End,
    table::{Orders, Reads, Returns},
};
use saga_proto::{Money, order::v1::OpenReturn};

use super::{Book, line, order, saga};

/// As many as there are pieces, and again as many.
const AT_ONCE: usize = 12;
const PIECES: i64 = 6;

async fn property<S: Store<Tx: Orders + Returns>, R: Reads>(book: &Book<S, R>) {
    let id = saga();
    book.insert(&[order(id, "Ada", &[line("cup", PIECES)])]).await.expect("it is new");
    let end = End::Confirmed { unit_prices: vec![1], total: Money::new(PIECES, "EUR") };
    book.end(&[(id, end)]).await.expect("it ends");
    let opened = join_all((0..AT_ONCE).map(|_| open(&book.store, id))).await;
    let opened = opened.into_iter().collect::<Result<Vec<bool>, Failure>>().expect("no failure");
    assert_eq!(opened.iter().filter(|opened| **opened).count() as i64, PIECES);
    let mut tx = book.store.begin().await.expect("a transaction");
    let known = tx.lock_returnable(&[id]).await.expect("the row");
    assert_eq!(known[&id].lines[0].held, PIECES);
}

/// Opens a return of one piece as the handler does, if there is one.
async fn open<S: Store<Tx: Returns>>(store: &S, order: SagaId) -> Result<bool, Failure> {
    let command = OpenReturn {
        caller: "anonymous".to_owned(),
        lines: vec![line("cup", 1)],
        ..OpenReturn::default()
    };
    let mut tx = store.begin().await?;
    let mut known = tx.lock_returnable(&[order]).await?;
    let Ok(new) = returns::open(known.get_mut(&order), saga(), order, &command) else {
        return Ok(false);
    };
    tx.open(&[new]).await?;
    store.commit(tx).await?;
    Ok(true)
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
