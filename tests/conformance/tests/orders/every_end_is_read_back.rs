//! Every end of an order is read as it was written, by its id and in a page, and
//! locked as it stands.

use saga_kit::Store;
use saga_order::{
    rule::{End, Status},
    table::{Orders, Reads},
};
use saga_proto::{
    Money,
    order::v1::{Order, OrderStatus},
    types::v1::PricedLine,
};

use super::{Book, everything, line, order, reason, saga};

async fn property<S: Store<Tx: Orders>, R: Reads>(book: &Book<S, R>) {
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
        // Not a float's precision.
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
