//! Transactions on one payment come one after the other: none decides on what
//! another is changing.

use futures::future::join_all;
use saga_kit::Store;
use saga_payment::{State, table::Payments};

use super::{Till, order, payment};

const REPLICAS: i64 = 8;
const ROUNDS: i64 = 10;

pub(super) async fn property<S: Store<Tx: Payments>>(till: &Till<S>) {
    let id = order();
    let captured = |refunded| State::Captured { provider_id: "p1".to_owned(), refunded };
    till.save(&[payment(id, 1_000, captured(0))], &[]).await.expect("it is sound");
    let replicas = (0..REPLICAS).map(|_| {
        let store = till.store.clone();
        tokio::spawn(async move {
            for _ in 0..ROUNDS {
                let mut tx = store.begin().await.expect("a transaction");
                let mut found = tx.lock(&[id]).await.expect("no conflict");
                let State::Captured { refunded, .. } = &mut found[0].state else {
                    panic!("captured")
                };
                *refunded += 1;
                tokio::task::yield_now().await;
                tx.save(&found, &[]).await.expect("no conflict");
                store.commit(tx).await.expect("committed");
            }
        })
    });
    for replica in join_all(replicas).await {
        replica.expect("no conflict");
    }
    let expected = payment(id, 1_000, captured(REPLICAS * ROUNDS));
    assert_eq!(till.payments(std::slice::from_ref(&expected)).await, [expected]);
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
