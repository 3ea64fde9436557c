//! What is reserved, given back and sold shows in the levels, as large as a number
//! can be.

use saga_inventory::{
    rule::Levels,
    table::{Catalogue, Closing, Shelf},
};
use saga_kit::Store;

use super::{Shop, saga};

async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
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
