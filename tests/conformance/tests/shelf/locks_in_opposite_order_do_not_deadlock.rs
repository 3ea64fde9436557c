//! Whoever locks the same products in another order waits, and no more.

use futures::future::join_all;
use saga_inventory::table::{Catalogue, Shelf};
use saga_kit::Store;

use super::Shop;

pub(super) async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
    let skus: Vec<String> = (0..20).map(|n| format!("sku{n}")).collect();
    for sku in &skus {
        shop.stock(sku, 1).await;
    }
    let replicas = (0..8).map(|replica| {
        let (store, mut skus) = (shop.store.clone(), skus.clone());
        if replica % 2 == 1 {
            skus.reverse();
        }
        skus.rotate_left(replica * 2);
        tokio::spawn(async move {
            for _ in 0..10 {
                let mut tx = store.begin().await.expect("a transaction");
                let stock = tx.lock(&skus).await.expect("no deadlock");
                let products: Vec<_> = stock.values().collect();
                assert_eq!(products.len(), skus.len());
                tx.reserve(&products, &[]).await.expect("no deadlock");
                store.commit(tx).await.expect("committed");
            }
        })
    });
    for replica in join_all(replicas).await {
        replica.expect("no conflict");
    }
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
