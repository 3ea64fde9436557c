//! What the tables forbid will never be right, and what stood beside it is not
//! written either.

use saga_core::Failure;
use saga_kit::Store;
use saga_order::{
    rule::End,
    table::{NewOrder, Orders, Reads},
};
use saga_proto::Money;

use super::{Book, line, order, reason, saga};

async fn property<S: Store<Tx: Orders>, R: Reads>(book: &Book<S, R>) {
    let (a, b) = (saga(), saga());
    let lines = [line("cup", 1), line("teapot", 2)];
    let batch = [order(a, "Ada", &lines), order(b, "Bob", &lines)];
    book.insert(&batch).await.expect("they are new");
    let before = (book.read(a).await, book.read(b).await);

    let paid = |price: i64, total: i64, currency: &str| End::Confirmed {
        unit_prices: vec![price, price],
        total: Money::new(total, currency),
    };
    let wrong = [
        paid(1, -1, "EUR"),
        paid(-1, 1, "EUR"),
        paid(1, i64::MIN, "EUR"),
        paid(1, 1, ""),
        paid(1, 1, "eur"),
        paid(1, 1, "EU"),
        paid(1, 1, "EURO"),
        paid(1, 1, "EU\u{c9}"),
        paid(1, 1, "EUR\n"),
        paid(1, 1, "EUR\0"),
        paid(1, 1, " EU"),
        End::Rejected(reason("NUL\0", "a")),
        End::Rejected(reason("A", "nul\0")),
        End::Cancelled(reason("A", "\0")),
    ];
    for wrong in wrong {
        let ends = [(a, paid(3, 9, "EUR")), (b, wrong)];
        let refused = book.end(&ends).await;
        assert!(matches!(refused, Err(Failure::Permanent(_))), "{ends:?}: {refused:?}");
        assert_eq!((book.read(a).await, book.read(b).await), before, "{ends:?}");
    }

    let bad_lines = [[line("cup", 0)], [line("cup", i64::MIN)], [line("nul\0", 1)]];
    let new = saga();
    let mut wrong: Vec<NewOrder<'_>> =
        bad_lines.iter().map(|lines| order(new, "Cleo", lines)).collect();
    wrong.push(order(new, "nul\0", &lines));
    wrong.push(NewOrder { caller: "nul\0", ..order(new, "Cleo", &lines) });
    for wrong in wrong {
        let refused = book.insert(&[order(saga(), "Dora", &lines), wrong]).await;
        assert!(matches!(refused, Err(Failure::Permanent(_))), "{wrong:?}: {refused:?}");
    }
    assert_eq!(book.probe.number("SELECT count(*) FROM orders").await, 2);
    assert_eq!(book.probe.number("SELECT count(*) FROM order_lines").await, 4);
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
