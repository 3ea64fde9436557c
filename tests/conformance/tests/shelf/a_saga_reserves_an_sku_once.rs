//! A second reservation of the same is a conflict, and nothing of it is written.

use saga_core::Failure;
use saga_inventory::table::{Catalogue, Shelf};
use saga_kit::Store;

use super::{Shop, saga};

async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
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
