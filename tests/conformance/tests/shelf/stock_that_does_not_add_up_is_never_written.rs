//! No level is negative, and together they are what was received, also beyond 64
//! bits; what breaks it is permanent, and nothing of it is written.

use saga_core::Failure;
use saga_inventory::{
    rule::{Levels, Product},
    table::{Catalogue, Closing, Reservation, Shelf},
};
use saga_kit::Store;

use super::{Shop, line, price, receipt, saga};

const MAX: i64 = i64::MAX;

async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
    shop.stock("cup", 10).await;
    shop.stock("teapot", 10).await;
    let ours = saga();
    shop.reserve(ours, &[("cup", 4)]).await.expect("it is there");
    let (cup, teapot) = (shop.product("cup").await, shop.product("teapot").await);
    let unchanged = async || {
        assert_eq!(
            (shop.product("cup").await, shop.product("teapot").await),
            (cup.clone(), teapot.clone())
        );
        assert_eq!(shop.probe.number("SELECT count(*) FROM movements").await, 3);
        assert_eq!(shop.probe.number("SELECT count(*) FROM reservations").await, 1);
    };
    let with = |product: &Product, available, reserved, sold| {
        let levels = Levels { available, reserved, sold, ..product.levels };
        Product { levels, ..product.clone() }
    };
    let permanent = |result: Result<(), Failure>| {
        assert!(matches!(result, Err(Failure::Permanent(_))), "{result:?}");
    };

    for (available, reserved) in
        [(7, 4), (5, 4), (-1, 11), (11, -1), (MAX, MAX), (MAX, 1), (i64::MIN, i64::MIN)]
    {
        let saga = saga();
        let held = ["teapot", "cup"].map(|sku| Reservation {
            saga,
            line: line(sku, 1),
            unit_price: price(),
        });
        let (good, bad) = (with(&teapot, 9, 1, 0), with(&cup, available, reserved, 0));
        let mut tx = shop.store.begin().await.expect("a transaction");
        permanent(tx.reserve(&[&good, &bad], &held).await);
        drop(tx);
        unchanged().await;
    }
    for (available, reserved, sold) in [
        (6, 4, 1),
        (6, 0, 3),
        (10, -4, 4),
        (14, 0, -4),
        (MAX, 1, MAX),
        (MAX, MAX, 12),
        (1, MAX, MAX),
    ] {
        let bad = with(&cup, available, reserved, sold);
        let mut tx = shop.store.begin().await.expect("a transaction");
        let closed = tx.close(&[ours], Closing::Committed).await.expect("it is held");
        permanent(tx.settle(&[&bad], &closed, Closing::Committed).await);
        drop(tx);
        unchanged().await;
    }
    for (received, available, reserved, sold) in [
        (11, 10, 0, 0),
        (-1, -1, 0, 0),
        (0, MAX, MAX, 2),
        (MAX, MAX, MAX, MAX),
        (MAX, 1, MAX, MAX),
        (MAX - 1, MAX, 0, 0),
        (MAX, MAX - 1, 0, 0),
        (MAX, 9_223_372_036_854_774_784, 0, 0),
    ] {
        let levels = Levels { received, available, reserved, sold };
        let receipt = receipt("new", "new", 1);
        let product = Product { sku: "new".to_owned(), levels, ..cup.clone() };
        let mut tx = shop.store.begin().await.expect("a transaction");
        tx.claim(&receipt).await.expect("it is free");
        permanent(tx.receive(&product, &receipt).await);
        drop(tx);
        unchanged().await;
    }
    assert_eq!(shop.probe.number("SELECT count(*) FROM receipts").await, 2);
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
