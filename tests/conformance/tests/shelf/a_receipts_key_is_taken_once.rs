//! A key is new, or its very receipt comes again, or it was used for another one;
//! keys are told apart byte by byte.

use saga_inventory::{
    receipt::Receipt,
    table::{Catalogue, Claim, Shelf},
};
use saga_kit::Store;
use saga_proto::Money;

use super::{Shop, receipt};

async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
    let claim = async |receipt: &Receipt, keep: bool| {
        let mut tx = shop.store.begin().await.expect("a transaction");
        let claim = tx.claim(receipt).await.expect("no conflict");
        if keep {
            shop.store.commit(tx).await.expect("committed");
        }
        claim
    };
    let ours = receipt("Key 1", "cup", 5);
    assert_eq!(claim(&ours, false).await, Claim::New);
    assert_eq!(claim(&ours, true).await, Claim::New, "what is dropped stays free");
    assert_eq!(claim(&ours, true).await, Claim::Repeated);
    for other in [
        receipt("Key 1", "cup", 6),
        receipt("Key 1", "teapot", 5),
        Receipt { name: None, ..ours.clone() },
        Receipt { price: None, ..ours.clone() },
        Receipt { price: Some(Money::new(1, "USD")), ..ours.clone() },
    ] {
        assert_eq!(claim(&other, true).await, Claim::Taken, "{other:?}");
    }
    assert_eq!(claim(&ours, true).await, Claim::Repeated);
    for key in ["key 1", "Key 1 ", "KEY 1", "Key  1", "Key", "Key%", "1"] {
        assert_eq!(claim(&receipt(key, "cup", 5), true).await, Claim::New, "{key}");
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
