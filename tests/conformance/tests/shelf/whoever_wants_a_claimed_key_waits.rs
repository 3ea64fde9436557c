//! A second claim of a key waits for the first one's end: committed it is a
//! repetition, dropped it is new.

use std::time::{Duration, Instant};

use saga_inventory::table::{Catalogue, Claim, Shelf};
use saga_kit::Store;

use super::{Shop, receipt};

pub(super) async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
    for (key, commit) in [("committed", true), ("dropped", false)] {
        let receipt = receipt(key, "cup", 5);
        let mut first = shop.store.begin().await.expect("a transaction");
        assert_eq!(first.claim(&receipt).await, Ok(Claim::New));
        let second = async {
            let mut tx = shop.store.begin().await.expect("a transaction");
            let claim = tx.claim(&receipt).await.expect("no conflict");
            (claim, Instant::now())
        };
        let ending = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let ended = Instant::now();
            if commit {
                shop.store.commit(first).await.expect("committed");
            } else {
                drop(first);
            }
            ended
        };
        let ((claim, got), ended) = tokio::join!(second, ending);
        assert!(got >= ended, "it waited");
        assert_eq!(claim, if commit { Claim::Repeated } else { Claim::New });
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
