//! Sales are read as they stand; what is taken back is available again, and a saga takes
//! back an SKU once.

use saga_core::Failure;
use saga_inventory::{
    rule::{self, Levels, SaleState},
    table::{Catalogue, Closing, Sales, Shelf, TakenBack},
};
use saga_kit::Store;

use super::{Shop, line, saga};

async fn property<S: Store<Tx: Shelf + Sales>, C: Catalogue>(shop: &Shop<S, C>) {
    shop.stock("cup", 20).await;
    shop.stock("teapot", 20).await;
    let (sold, open, released) = (saga(), saga(), saga());
    for order in [sold, open, released] {
        shop.reserve(order, &[("cup", 5), ("teapot", 2)]).await.expect("it is there");
    }
    shop.close(sold, Closing::Committed).await.expect("it is sold");
    shop.close(released, Closing::Released).await.expect("it is released");

    let mut tx = shop.store.begin().await.expect("a transaction");
    let mut sales = tx.sales(&[sold, open, released, saga()]).await.expect("the rows");
    assert_eq!(sales.len(), 3);
    for (order, state) in
        [(sold, SaleState::Committed), (open, SaleState::Open), (released, SaleState::Released)]
    {
        let seen: Vec<_> =
            sales[&order].iter().map(|s| (&*s.sku, s.quantity, s.returned)).collect();
        assert_eq!(seen, [("cup", 5, 0), ("teapot", 2, 0)]);
        assert!(sales[&order].iter().all(|sale| sale.state == state));
    }
    // Two returns of one order in one statement.
    let (first, second) = (saga(), saga());
    let mut stock = tx.lock(&["cup".to_owned(), "teapot".to_owned()]).await.expect("the rows");
    let of_order = sales.get_mut(&sold).expect("it was sold");
    for lines in [vec![line("cup", 2), line("teapot", 2)], vec![line("cup", 3)]] {
        rule::take_back(&mut stock, of_order, &lines).expect("it was sold");
    }
    let taken = |saga, line| TakenBack { saga, order: sold, line };
    let all = [
        taken(first, line("cup", 2)),
        taken(first, line("teapot", 2)),
        taken(second, line("cup", 3)),
    ];
    tx.take_back(&stock.values().collect::<Vec<_>>(), &all).await.expect("written");
    shop.store.commit(tx).await.expect("committed");
    let levels = Levels { received: 20, available: 15, reserved: 5, sold: 0 };
    assert_eq!(shop.levels("cup").await, levels);

    let mut tx = shop.store.begin().await.expect("a transaction");
    let sales = tx.sales(&[sold]).await.expect("the rows");
    assert!(sales[&sold].iter().all(|sale| sale.returned == sale.quantity), "{sales:?}");
    let twice = tx.take_back(&[], &all[1..2]).await;
    assert!(matches!(twice, Err(Failure::Permanent(_) | Failure::Conflict(_))), "{twice:?}");
    drop(tx);
    // More than was sold, and what was not sold.
    for order in [sold, open, released] {
        let mut tx = shop.store.begin().await.expect("a transaction");
        let more = [TakenBack { saga: saga(), order, line: line("cup", 1) }];
        let written = tx.take_back(&[], &more).await;
        assert!(matches!(written, Err(Failure::Permanent(_))), "{written:?}");
    }
    assert_eq!(shop.levels("cup").await, levels);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    property(&Shop::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    property(&Shop::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory() {
    property(&Shop::in_memory()).await;
}
