//! Whoever locks the same payments in another order waits, and no more.

use futures::future::join_all;
use saga_core::SagaId;
use saga_kit::Store;
use saga_payment::{State, table::Payments};

use super::{Till, order, payment};

pub(super) async fn property<S: Store<Tx: Payments>>(till: &Till<S>) {
    let ids: Vec<SagaId> = (0..40).map(|_| order()).collect();
    let payments: Vec<_> = ids.iter().map(|id| payment(*id, 5, State::Authorising)).collect();
    till.save(&payments, &[]).await.expect("they are sound");
    let replicas = (0..8).map(|replica| {
        let (store, mut ids) = (till.store.clone(), ids.clone());
        if replica % 2 == 1 {
            ids.reverse();
        }
        ids.rotate_left(replica * 4);
        tokio::spawn(async move {
            for _ in 0..10 {
                let mut tx = store.begin().await.expect("a transaction");
                let locked = tx.lock(&ids).await.expect("no deadlock");
                assert_eq!(locked.len(), ids.len());
                tx.save(&locked, &[]).await.expect("no deadlock");
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
    property(&Till::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    property(&Till::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory() {
    property(&Till::in_memory()).await;
}
