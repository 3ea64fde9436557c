//! Pages go from the greatest id to the least, by the bytes of the ids, of one
//! customer and status or of all.

use saga_core::SagaId;
use saga_kit::Store;
use saga_order::{
    rule::{End, Status},
    table::{Orders, Page, Reads},
};
use saga_proto::Money;
use uuid::Uuid;

use super::{Book, everything, line, order, reason};

async fn property<S: Store<Tx: Orders>, R: Reads>(book: &Book<S, R>) {
    // Ids with and without their first bit: bytes have no sign.
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
        // And page by page.
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
