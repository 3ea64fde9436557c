//! New orders, and the values that the tables refuse.

use futures::future::join_all;
use saga_core::{Failure, SagaId};
use saga_kit::{Key, Store};
use saga_order::{
    rule::End,
    table::{NewOrder, Orders, Reads},
};
use saga_proto::Money;

use super::{Book, everything, line, order, reason, saga};

holds_on! { Book::{postgres, sqlite, in_memory}:
    insert_says_which_were_new,
    a_repeated_insert_changes_nothing,
    of_two_inserts_at_once_one_is_new,
    an_order_without_lines_is_an_order,
    times_are_the_transactions_in_microseconds,
    a_failed_constraint_is_permanent_and_leaves_nothing,
}

/// An insert returns the orders of its batch that did not exist before.
async fn insert_says_which_were_new<S: Store<Tx: Orders>, R: Reads>(book: Book<S, R>) {
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

/// A repeated insert does not change an order's customer, lines or time.
async fn a_repeated_insert_changes_nothing<S: Store<Tx: Orders>, R: Reads>(book: Book<S, R>) {
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

/// If many transactions insert one order at once, one creates it, with all its lines.
pub(super) async fn of_two_inserts_at_once_one_is_new<S: Store<Tx: Orders>, R: Reads>(
    book: Book<S, R>,
) {
    for _ in 0..10 {
        let id = saga();
        let inserts = (0..8_i64).map(|replica| {
            let store = book.store.clone();
            tokio::spawn(async move {
                let lines = [line("cup", replica + 1), line("teapot", replica + 1)];
                let customer = format!("customer {replica}");
                let mut tx = store.begin().await.expect("a transaction");
                let new = tx.insert(&[order(id, &customer, &lines)]).await.expect("no conflict");
                store.commit(tx).await.expect("committed");
                new.contains(&id).then_some(replica)
            })
        });
        let inserted = join_all(inserts).await.into_iter().map(|insert| insert.expect("no panic"));
        let first: Vec<i64> = inserted.flatten().collect();
        let [first] = first[..] else { panic!("one is first, not {first:?}") };
        let read = book.read(id).await.expect("it exists");
        assert_eq!(read.customer, format!("customer {first}"));
        let quantities: Vec<_> = read.lines.iter().map(|line| line.quantity).collect();
        assert_eq!(quantities, [first + 1, first + 1]);
    }
}

/// An order without lines is still found, alone and in a page.
async fn an_order_without_lines_is_an_order<S: Store<Tx: Orders>, R: Reads>(book: Book<S, R>) {
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

/// An order's time is that of the transaction that created it, to the microsecond.
async fn times_are_the_transactions_in_microseconds<S: Store<Tx: Orders>, R: Reads>(
    book: Book<S, R>,
) {
    let mut odd = false;
    for _ in 0..20 {
        let id = saga();
        let mut tx = book.store.begin().await.expect("a transaction");
        let key = Key { saga: id, step: "create-order".to_owned() };
        let now = book.store.lock(&mut tx, &[key]).await.expect("the row").now;
        tx.insert(&[order(id, "Ada", &[])]).await.expect("written");
        book.store.commit(tx).await.expect("committed");
        assert_eq!(book.read(id).await.expect("it exists").created_at_micros, now.0);
        odd |= now.0 % 1_000 != 0;
    }
    assert!(odd, "the clock has only milliseconds: nothing was shown");
}

/// Values that the tables forbid fail for good, and nothing of their transaction is written.
async fn a_failed_constraint_is_permanent_and_leaves_nothing<S: Store<Tx: Orders>, R: Reads>(
    book: Book<S, R>,
) {
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
