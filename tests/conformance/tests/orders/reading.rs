//! Reads: every order as it was written, alone and in pages.

use std::time::Duration;

use saga_core::SagaId;
use saga_kit::Store;
use saga_order::{
    rule::{End, Status},
    table::{Orders, Page, Reads},
};
use saga_proto::{
    Money,
    order::v1::{Order, OrderStatus},
    types::v1::PricedLine,
};
use uuid::Uuid;

use super::{Book, everything, line, order, reason, saga};

holds_on! { Book::{postgres, sqlite, in_memory}:
    every_end_is_read_back,
    pages_are_newest_first,
    customers_are_told_apart_byte_by_byte,
}

holds_on! { Book::{postgres, sqlite}:
    a_reader_sees_nothing_of_an_open_transaction,
}

/// Every end of an order is read back as it was written: by its id, in a page, and when it is
/// locked.
async fn every_end_is_read_back<S: Store<Tx: Orders>, R: Reads>(book: Book<S, R>) {
    let customer = "\u{1F375} שלום e\u{301}' OR 1=1";
    let long = "\u{1F375}".repeat(500);
    let confirmed = |prices: [i64; 2], total, currency: &str| End::Confirmed {
        unit_prices: prices.to_vec(),
        total: Money::new(total, currency),
    };
    let ends = [
        confirmed([2_500, 300], 3_100, "EUR"),
        confirmed([0, 0], 0, "JPY"),
        confirmed([i64::MAX - 2, 1], i64::MAX, "XXX"),
        // The amounts have more digits than a float keeps.
        confirmed([9_007_199_254_740_993, 1], 9_007_199_254_740_995, "EUR"),
        End::Rejected(reason("OUT_OF_STOCK", &long)),
        End::Rejected(reason("", "")),
        End::Cancelled(reason("CANCELLED", "it's\nmine")),
    ];
    let lines = [line("teapot", 1), line("cup", 2)];
    let ids: Vec<_> = ends.iter().map(|_| saga()).collect();
    let batch: Vec<_> = ids.iter().map(|id| order(*id, customer, &lines)).collect();
    book.insert(&batch).await.expect("they are new");
    let ended: Vec<_> = ids.iter().copied().zip(ends.clone()).collect();
    book.end(&ended).await.expect("they end");

    let page = book.page(&everything()).await;
    let mut tx = book.store.begin().await.expect("a transaction");
    let locked = tx.lock(&ids).await.expect("the rows");
    drop(tx);
    for (id, end) in &ended {
        let read = book.read(*id).await.expect("it exists");
        assert!(page.contains(&read), "a page says the same as a single read");
        assert_eq!(read, expected(&read, customer, end), "{end:?}");
        let status = match end {
            End::Confirmed { .. } => Status::Confirmed,
            End::Rejected(_) => Status::Rejected,
            End::Cancelled(_) => Status::Cancelled,
        };
        assert_eq!((locked[id].status, &locked[id].lines[..]), (status, &lines[..]));
    }
}

fn expected(read: &Order, customer: &str, end: &End) -> Order {
    let (status, reason, paid) = match end {
        End::Confirmed { unit_prices, total } => {
            (OrderStatus::Confirmed, None, Some((unit_prices, total)))
        }
        End::Rejected(reason) => (OrderStatus::Rejected, Some(reason), None),
        End::Cancelled(reason) => (OrderStatus::Cancelled, Some(reason), None),
    };
    let line = |(number, (sku, quantity)): (usize, (&str, i64))| PricedLine {
        sku: sku.to_owned(),
        quantity,
        unit_price: paid.map(|(prices, total)| Money::new(prices[number], total.currency.clone())),
    };
    Order {
        order_id: read.order_id.clone(),
        customer: customer.to_owned(),
        status: status.into(),
        lines: [("teapot", 1), ("cup", 2)].into_iter().enumerate().map(line).collect(),
        total: paid.map(|(_, total)| total.clone()),
        reason_code: reason.map(|reason| reason.code.clone()).unwrap_or_default(),
        reason: reason.map(|reason| reason.text.clone()).unwrap_or_default(),
        created_at_micros: read.created_at_micros,
        ..Order::default()
    }
}

/// Pages go from the greatest id to the least, in the order of bytes, of one customer and status or
/// of all.
async fn pages_are_newest_first<S: Store<Tx: Orders>, R: Reads>(book: Book<S, R>) {
    // Some ids have their first bit set: bytes are unsigned.
    let ids: Vec<SagaId> =
        (0..16_u128).rev().map(|n| SagaId(Uuid::from_u128(n << 124 | (n + 1)))).collect();
    let lines = [line("b", 1), line("a", 2)];
    let customer = |n: usize| if n.is_multiple_of(2) { "Ada" } else { "Bob" };
    for (n, id) in ids.iter().enumerate().rev() {
        book.insert(&[order(*id, customer(n), &lines)]).await.expect("it is new");
    }
    let total = || Money::new(1, "EUR");
    let ends = ids.iter().enumerate().filter_map(|(n, id)| match n % 4 {
        0 => Some((*id, End::Confirmed { unit_prices: vec![0, 1], total: total() })),
        1 => Some((*id, End::Rejected(reason("A", "a")))),
        2 => Some((*id, End::Cancelled(reason("B", "b")))),
        _ => None,
    });
    book.end(&ends.collect::<Vec<_>>()).await.expect("they end");
    let statuses = [Status::Confirmed, Status::Rejected, Status::Cancelled, Status::Pending];

    let customers = [None, Some("Ada"), Some("Bob"), Some("Cleo")];
    let states = [None, Some(0), Some(1), Some(2), Some(3)];
    for (by, state) in customers.iter().flat_map(|c| states.iter().map(move |s| (*c, *s))) {
        let expected: Vec<String> = (0..ids.len())
            .filter(|n| by.is_none_or(|by| customer(*n) == by))
            .filter(|n| state.is_none_or(|state| n % 4 == state))
            .map(|n| ids[n].to_string())
            .collect();
        let page = Page {
            customer: by.map(ToOwned::to_owned),
            status: state.map(|state| statuses[state]),
            ..everything()
        };
        let whole: Vec<_> = book.page(&page).await.into_iter().map(|o| o.order_id).collect();
        assert_eq!(whole, expected, "{page:?}");
        // The same orders are read page by page.
        let mut seen: Vec<String> = Vec::new();
        loop {
            let before = seen.last().map(|id| id.parse().expect("an id"));
            let orders = book.page(&Page { before, limit: 3, ..page.clone() }).await;
            if orders.is_empty() {
                break;
            }
            assert!(orders.len() <= 3);
            for order in orders {
                let skus: Vec<_> = order.lines.iter().map(|line| line.sku.as_str()).collect();
                assert_eq!(skus, ["b", "a"]);
                seen.push(order.order_id);
            }
        }
        assert_eq!(seen, expected, "{page:?}");
    }
    assert_eq!(book.page(&Page::default()).await, [], "at most none");
}

/// Customers that differ in case, spaces or the spelling of an accent are different customers.
async fn customers_are_told_apart_byte_by_byte<S: Store<Tx: Orders>, R: Reads>(book: Book<S, R>) {
    let customers = [
        "",
        " ",
        "Ada",
        "ada",
        "ADA",
        "Ada ",
        " Ada",
        "Ad\u{e1}",
        "Ada\u{301}",
        "Stra\u{df}e",
        "Strasse",
        "%",
        "_",
        "A%",
        "1",
        "01",
        "1.0",
        "\u{1F375}",
    ];
    for customer in customers {
        book.insert(&[order(saga(), customer, &[])]).await.expect("it is new");
    }
    for customer in customers {
        let page = Page { customer: Some(customer.to_owned()), ..everything() };
        let found: Vec<_> = book.page(&page).await.into_iter().map(|o| o.customer).collect();
        assert_eq!(found, [customer]);
    }
}

/// A read does not wait for a writer and sees only committed rows. SQLite in memory is left out: it
/// has one connection, so a read would wait.
async fn a_reader_sees_nothing_of_an_open_transaction<S: Store<Tx: Orders>, R: Reads>(
    book: Book<S, R>,
) {
    let (old, new) = (saga(), saga());
    let lines = [line("cup", 1)];
    book.insert(&[order(old, "Ada", &lines)]).await.expect("it is new");
    let before = book.read(old).await;
    let mut tx = book.store.begin().await.expect("a transaction");
    tx.insert(&[order(new, "Bob", &lines)]).await.expect("written");
    tx.lock(&[old]).await.expect("the row");
    tx.end(&[(old, End::Rejected(reason("A", "a")))]).await.expect("written");
    let reading = async {
        assert_eq!(book.read(old).await, before);
        assert_eq!(book.read(new).await, None);
        assert_eq!(book.page(&everything()).await.len(), 1);
    };
    tokio::time::timeout(Duration::from_secs(3), reading).await.expect("it waits for nobody");
    book.store.commit(tx).await.expect("committed");
    assert_eq!(book.page(&everything()).await.len(), 2);
    assert_ne!(book.read(old).await, before);
}
