//! Reservations: they are held, closed once, and taken back after a sale.

use futures::future::join_all;
use saga_core::Failure;
use saga_inventory::{
    rule::{self, Levels, SaleState},
    table::{Catalogue, Closing, Sales, Shelf, TakenBack},
};
use saga_kit::Store;

use super::{Shop, line, reserve, saga};

holds_on! { Shop::{postgres, sqlite, in_memory}:
    levels_and_reservations_are_read_back,
    a_saga_reserves_an_sku_once,
    reservations_at_once_never_oversell,
    the_second_closing_finds_nothing,
    of_two_closings_at_once_one_finds_the_reservation,
    what_was_sold_is_taken_back_once_and_by_order,
}

/// Levels show reserved, released and sold goods, up to the largest number.
async fn levels_and_reservations_are_read_back<S: Store<Tx: Shelf>, C: Catalogue>(
    shop: Shop<S, C>,
) {
    shop.stock("big", i64::MAX).await;
    shop.stock("cup", 10).await;
    let (sold, released) = (saga(), saga());
    shop.reserve(sold, &[("big", i64::MAX), ("cup", 3)]).await.expect("it is there");
    shop.reserve(released, &[("cup", 7)]).await.expect("it is there");
    let levels =
        |received, available, reserved, sold| Levels { received, available, reserved, sold };
    assert_eq!(shop.levels("big").await, levels(i64::MAX, 0, i64::MAX, 0));
    assert_eq!(shop.levels("cup").await, levels(10, 0, 10, 0));
    shop.close(sold, Closing::Committed).await.expect("it is held");
    shop.close(released, Closing::Released).await.expect("it is held");
    assert_eq!(shop.levels("big").await, levels(i64::MAX, 0, 0, i64::MAX));
    assert_eq!(shop.levels("cup").await, levels(10, 7, 0, 3));
    assert_eq!(shop.catalogue.page("a", 1).await.expect("a page")[0], shop.product("big").await);
    let ledger = "SELECT count(*) FROM movements WHERE quantity = 9223372036854775807";
    assert_eq!(shop.probe.number(ledger).await, 3, "received, reserved, sold");
    let held = "SELECT count(*) FROM reservations WHERE state = 'committed' AND currency = 'EUR'
                AND unit_price = 9007199254740993";
    assert_eq!(shop.probe.number(held).await, 2, "at the price that was told");
}

/// A second reservation of an SKU by one saga is a conflict, and nothing of it is written.
async fn a_saga_reserves_an_sku_once<S: Store<Tx: Shelf>, C: Catalogue>(shop: Shop<S, C>) {
    shop.stock("cup", 10).await;
    shop.stock("teapot", 10).await;
    let ours = saga();
    shop.reserve(ours, &[("cup", 2)]).await.expect("it is there");
    let before = (shop.product("cup").await, shop.product("teapot").await);
    let again = shop.reserve(ours, &[("teapot", 1), ("cup", 2)]).await;
    assert!(matches!(again, Err(Failure::Conflict(_))), "{again:?}");
    assert_eq!((shop.product("cup").await, shop.product("teapot").await), before);
    assert_eq!(shop.probe.number("SELECT count(*) FROM reservations").await, 1);
    assert_eq!(shop.probe.number("SELECT count(*) FROM movements").await, 3);
}

/// Sagas that want the last of a product at once reserve one after the other, until it is sold out.
pub(super) async fn reservations_at_once_never_oversell<S: Store<Tx: Shelf>, C: Catalogue>(
    shop: Shop<S, C>,
) {
    shop.stock("cup", 30).await;
    let buyers = (0..10).map(|_| {
        let store = shop.store.clone();
        tokio::spawn(async move {
            let mut got = 0;
            for _ in 0..5 {
                match reserve(&store, saga(), &[("cup", 1)]).await {
                    Ok(()) => got += 1,
                    // The service's own rule refuses the reservation.
                    Err(Failure::Permanent(text)) if text == "OUT_OF_STOCK" => {}
                    Err(failure) => panic!("{failure:?}"),
                }
            }
            got
        })
    });
    let got: i64 = join_all(buyers).await.into_iter().map(|got| got.expect("no conflict")).sum();
    assert_eq!(got, 30);
    let levels = Levels { received: 30, available: 0, reserved: 30, sold: 0 };
    assert_eq!(shop.levels("cup").await, levels);
}

/// A closed reservation is returned once, in the order of the bytes of sagas and SKUs.
async fn the_second_closing_finds_nothing<S: Store<Tx: Shelf>, C: Catalogue>(shop: Shop<S, C>) {
    for sku in ["b", "a_b", "a.b", "a-b", "a"] {
        shop.stock(sku, 10).await;
    }
    let mut sagas = [saga(), saga(), saga()];
    sagas.sort();
    let [first, second, other] = sagas;
    shop.reserve(second, &[("b", 1), ("a", 2)]).await.expect("it is there");
    shop.reserve(first, &[("b", 3), ("a_b", 4), ("a.b", 5), ("a-b", 6)])
        .await
        .expect("it is there");
    shop.reserve(other, &[("b", 1)]).await.expect("it is there");
    let mut tx = shop.store.begin().await.expect("a transaction");
    let closed = tx.close(&[second, saga(), first, second], Closing::Released).await;
    let expected = [
        (first, line("a-b", 6)),
        (first, line("a.b", 5)),
        (first, line("a_b", 4)),
        (first, line("b", 3)),
        (second, line("a", 2)),
        (second, line("b", 1)),
    ];
    assert_eq!(closed.as_deref(), Ok(&expected[..]));
    for how in [Closing::Released, Closing::Committed] {
        assert_eq!(tx.close(&[first, second], how).await, Ok(vec![]));
    }
    shop.store.commit(tx).await.expect("committed");
    let mut tx = shop.store.begin().await.expect("a transaction");
    assert_eq!(tx.close(&[first, second], Closing::Committed).await, Ok(vec![]));
    assert_eq!(tx.close(&[], Closing::Committed).await, Ok(vec![]));
    let others = tx.close(&[first, other], Closing::Committed).await;
    assert_eq!(others, Ok(vec![(other, line("b", 1))]));
}

/// If a sale and a release of one reservation run at once, one closes it and the other finds
/// nothing.
pub(super) async fn of_two_closings_at_once_one_finds_the_reservation<
    S: Store<Tx: Shelf>,
    C: Catalogue,
>(
    shop: Shop<S, C>,
) {
    shop.stock("cup", 100).await;
    shop.stock("teapot", 100).await;
    for _ in 0..25 {
        let ours = saga();
        shop.reserve(ours, &[("cup", 1), ("teapot", 2)]).await.expect("it is there");
        let closing = |how| {
            let store = shop.store.clone();
            tokio::spawn(async move { super::close(&store, ours, how).await })
        };
        let (sale, release) = (closing(Closing::Committed), closing(Closing::Released));
        let (sale, release) = tokio::join!(sale, release);
        let found = |closed: Closed| usize::from(closed.expect("no panic").expect("no conflict"));
        assert_eq!(found(sale) + found(release), 1);
    }
    let open = "SELECT count(*) FROM reservations WHERE state = 'open'";
    assert_eq!(shop.probe.number(open).await, 0);
    let apart = "SELECT count(*) FROM products WHERE reserved <> 0 OR available + sold <> 100";
    assert_eq!(shop.probe.number(apart).await, 0);
}

/// The result of one closing: whether there was a reservation to close.
type Closed = Result<Result<bool, Failure>, tokio::task::JoinError>;

/// Sales are read back. Goods that are taken back are available again, and a saga takes back an SKU
/// once.
async fn what_was_sold_is_taken_back_once_and_by_order<
    S: Store<Tx: Shelf + Sales>,
    C: Catalogue,
>(
    shop: Shop<S, C>,
) {
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
    // Nobody can return more than was sold, or goods that were not sold.
    for order in [sold, open, released] {
        let mut tx = shop.store.begin().await.expect("a transaction");
        let more = [TakenBack { saga: saga(), order, line: line("cup", 1) }];
        let written = tx.take_back(&[], &more).await;
        assert!(matches!(written, Err(Failure::Permanent(_))), "{written:?}");
    }
    assert_eq!(shop.levels("cup").await, levels);
}
