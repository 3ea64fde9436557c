//! Returns of orders.

use futures::future::join_all;
use saga_core::{Failure, SagaId};
use saga_kit::Store;
use saga_order::{
    returns::{self, Piece, Return, ReturnState},
    rule::End,
    table::{Orders, Reads, Returns},
};
use saga_proto::{Money, order::v1::OpenReturn};

use super::{Book, line, order, saga};

holds_on! { Book::{postgres, sqlite, in_memory}:
    a_return_is_read_back_in_every_state,
    a_return_of_what_is_not_there_is_never_written,
    returns_at_once_never_have_the_same_piece,
}

/// A return is read back as it was written. Its order holds the returned pieces until it ends, and
/// then counts them as returned or releases them. Several returns in one statement all count.
async fn a_return_is_read_back_in_every_state<S: Store<Tx: Orders + Returns>, R: Reads>(
    book: Book<S, R>,
) {
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
    assert_eq!(held_and_returned(&book, paid).await, [(4, 0), (6, 0)]);
    assert_eq!(held_and_returned(&book, other).await, [(0, 0), (0, 0)]);
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
    assert_eq!(held_and_returned(&book, paid).await, [(0, 3), (2, 3)]);
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

/// The tables refuse to hold more than was ordered and to release more than is held.
async fn a_return_of_what_is_not_there_is_never_written<
    S: Store<Tx: Orders + Returns>,
    R: Reads,
>(
    book: Book<S, R>,
) {
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

/// If several returns of one order are opened at once, each piece is held by one return only.
async fn returns_at_once_never_have_the_same_piece<S: Store<Tx: Orders + Returns>, R: Reads>(
    book: Book<S, R>,
) {
    // There are twice as many returns as pieces.
    const AT_ONCE: usize = 12;
    const PIECES: i64 = 6;
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

/// Opens a return of one piece as the handler does, if a piece is left.
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
