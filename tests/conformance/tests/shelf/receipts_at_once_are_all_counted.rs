//! Of two that add the same new product, the second must look again: it neither
//! overwrites nor gets lost.

use futures::future::join_all;
use saga_core::Failure;
use saga_inventory::{
    rule::Levels,
    table::{Catalogue, Shelf},
};
use saga_kit::Store;

use super::{Shop, receipt, receive};

const RECEIPTS: i64 = 8;

async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
    // One that looked before the first was committed.
    let late = receipt("late", "cup", 3);
    let stale = late.take_in(None).expect("it is described");
    shop.stock("cup", 5).await;
    let mut tx = shop.store.begin().await.expect("a transaction");
    tx.claim(&late).await.expect("it is free");
    let overwritten = tx.receive(&stale, &late).await;
    assert!(matches!(overwritten, Err(Failure::Conflict(_))), "{overwritten:?}");
    drop(tx);
    assert_eq!(shop.levels("cup").await.received, 5);
    assert_eq!(shop.probe.number("SELECT count(*) FROM movements").await, 1);

    for round in 0..5 {
        let sku = format!("new{round}");
        let receipts = (0..RECEIPTS).map(|n| {
            let (store, receipt) = (shop.store.clone(), receipt(&format!("{n} {sku}"), &sku, 1));
            tokio::spawn(async move {
                loop {
                    match receive(&store, &receipt).await {
                        Ok(()) => return,
                        Err(Failure::Conflict(_)) => tokio::task::yield_now().await,
                        Err(failure) => panic!("{failure:?}"),
                    }
                }
            })
        });
        for received in join_all(receipts).await {
            received.expect("it gets through");
        }
        let levels = Levels { received: RECEIPTS, available: RECEIPTS, reserved: 0, sold: 0 };
        assert_eq!(shop.levels(&sku).await, levels);
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
