//! A return is read as it was written; its pieces are held by its order, and have come
//! back, or are let go, once it has ended. Several in one statement are all counted.

use saga_core::SagaId;
use saga_kit::Store;
use saga_order::{
    returns::{Piece, Return, ReturnState},
    rule::End,
    table::{Orders, Reads, Returns},
};
use saga_proto::Money;

use super::{Book, line, order, saga};

async fn property<S: Store<Tx: Orders + Returns>, R: Reads>(book: &Book<S, R>) {
    let (paid, other, unpaid) = (saga(), saga(), saga());
    let lines = [line("teapot", 5), line("cup", 9)];
    let batch = [paid, other, unpaid].map(|id| order(id, "Ada", &lines));
    book.insert(&batch).await.expect("they are new");
    let total = Money::new(5 * 2_500 + 9 * 300, "EUR");
    let end = End::Confirmed { unit_prices: vec![2_500, 300], total };
    book.end(&[(paid, end.clone()), (other, end)]).await.expect("they end");

    let open = |pieces: &[(i32, i64)], amount| Return {
        id: saga(),
        order: paid,
        state: ReturnState::Open,
        reason: "it's \u{1F375} DROP".to_owned(),
        amount,
        pieces: pieces.iter().map(|&(line_no, quantity)| Piece { line_no, quantity }).collect(),
    };
    let mut all = [
        open(&[(1, 2), (2, 3)], 5_900),
        open(&[(1, 1)], 2_500),
        open(&[(1, 1), (2, 1)], 2_800),
        open(&[(2, 2)], 600),
    ];
    let mut tx = book.store.begin().await.expect("a transaction");
    tx.lock_returnable(&[paid]).await.expect("the row");
    tx.open(&all).await.expect("they are new");
    book.store.commit(tx).await.expect("committed");
    assert_eq!(held_and_returned(book, paid).await, [(4, 0), (6, 0)]);
    assert_eq!(held_and_returned(book, other).await, [(0, 0), (0, 0)]);
    let read = book.read(paid).await.expect("it exists");
    assert_eq!((read.returned, read.refunded), (vec![], None), "nothing has come back yet");

    for (known, state) in all.iter_mut().zip([
        ReturnState::Done,
        ReturnState::Done,
        ReturnState::Rejected,
        ReturnState::Open,
    ]) {
        known.state = state;
    }
    let mut tx = book.store.begin().await.expect("a transaction");
    tx.close(&all[..3]).await.expect("they end");
    book.store.commit(tx).await.expect("committed");
    assert_eq!(held_and_returned(book, paid).await, [(0, 3), (2, 3)]);
    let read = book.read(paid).await.expect("it exists");
    assert_eq!(read.returned, [line("teapot", 3), line("cup", 3)]);
    assert_eq!(read.refunded, Some(Money::new(8_400, "EUR")));
    assert_eq!(book.read(other).await.expect("it exists").refunded, None);

    let ids: Vec<SagaId> = all.iter().map(|known| known.id).chain([saga()]).collect();
    let mut tx = book.store.begin().await.expect("a transaction");
    let known = tx.lock_returns(&ids).await.expect("the rows");
    assert_eq!(known.len(), all.len(), "what does not exist is not there");
    for one in all {
        assert_eq!(known[&one.id], one);
    }
    let orders = tx.lock_returnable(&[unpaid, saga()]).await.expect("the rows");
    assert_eq!((orders.len(), orders[&unpaid].currency.as_str()), (1, ""));
    assert_eq!(orders[&unpaid].caller, "anonymous");
}

async fn held_and_returned<S: Store<Tx: Orders + Returns>, R>(
    book: &Book<S, R>,
    order: SagaId,
) -> Vec<(i64, i64)> {
    let mut tx = book.store.begin().await.expect("a transaction");
    let known = tx.lock_returnable(&[order]).await.expect("the row");
    known[&order].lines.iter().map(|line| (line.held, line.returned)).collect()
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
