//! Whatever the program does, no more is held than was ordered, nor let go than is held.

use saga_core::Failure;
use saga_kit::Store;
use saga_order::{
    returns::{Piece, Return, ReturnState},
    rule::End,
    table::{Orders, Reads, Returns},
};
use saga_proto::Money;

use super::{Book, line, order, saga};

async fn property<S: Store<Tx: Orders + Returns>, R: Reads>(book: &Book<S, R>) {
    let id = saga();
    book.insert(&[order(id, "Ada", &[line("cup", 2)])]).await.expect("it is new");
    let end = End::Confirmed { unit_prices: vec![5], total: Money::new(10, "EUR") };
    book.end(&[(id, end)]).await.expect("it ends");
    let before = book.read(id).await;
    let a_return = |quantity, amount, state| Return {
        id: saga(),
        order: id,
        state,
        reason: String::new(),
        amount,
        pieces: vec![Piece { line_no: 1, quantity }],
    };
    for opened in [
        vec![a_return(3, 15, ReturnState::Open)],
        vec![a_return(1, 5, ReturnState::Open), a_return(2, 10, ReturnState::Open)],
        vec![a_return(0, 0, ReturnState::Open)],
    ] {
        let mut tx = book.store.begin().await.expect("a transaction");
        let written = tx.open(&opened).await;
        assert!(matches!(written, Err(Failure::Permanent(_))), "{written:?}");
    }
    for state in [ReturnState::Done, ReturnState::Rejected] {
        let mut tx = book.store.begin().await.expect("a transaction");
        let written = tx.close(&[a_return(1, 5, state)]).await;
        assert!(matches!(written, Err(Failure::Permanent(_))), "{written:?}");
    }
    assert_eq!(book.read(id).await, before);
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
