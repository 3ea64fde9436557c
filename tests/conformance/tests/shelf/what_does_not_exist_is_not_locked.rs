//! Locking gives the products that exist, by SKU, and leaves out the others.

use saga_inventory::table::{Catalogue, Shelf};
use saga_kit::Store;

use super::Shop;

async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
    for sku in ["b", "a", "c"] {
        shop.stock(sku, 5).await;
    }
    let mut tx = shop.store.begin().await.expect("a transaction");
    let skus = ["c", "unknown", "a", "A", "a ", "%", ""].map(ToOwned::to_owned);
    let stock = tx.lock(&skus).await.expect("the rows");
    assert_eq!(stock.keys().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(tx.lock(&[]).await.expect("nothing").len(), 0);
    drop(tx);
    assert_eq!(stock["a"], shop.product("a").await);
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
