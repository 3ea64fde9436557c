//! Many that want the last of a product take one after the other what there is.

use futures::future::join_all;
use saga_core::Failure;
use saga_inventory::{
    rule::Levels,
    table::{Catalogue, Shelf},
};
use saga_kit::Store;

use super::{Shop, reserve, saga};

pub(super) async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
    shop.stock("cup", 30).await;
    let buyers = (0..10).map(|_| {
        let store = shop.store.clone();
        tokio::spawn(async move {
            let mut got = 0;
            for _ in 0..5 {
                match reserve(&store, saga(), &[("cup", 1)]).await {
                    Ok(()) => got += 1,
                    // The rule's own no.
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
