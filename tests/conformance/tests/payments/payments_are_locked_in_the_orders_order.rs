//! Locking gives the payments that exist, each once, in the order of the bytes of
//! the orders' ids.

use saga_core::SagaId;
use saga_kit::Store;
use saga_payment::{State, table::Payments};
use uuid::Uuid;

use super::{Till, order, payment};

async fn property<S: Store<Tx: Payments>>(till: &Till<S>) {
    let mut ids: Vec<SagaId> =
        (0..16_u128).map(|n| SagaId(Uuid::from_u128(n << 124 | (16 - n)))).collect();
    let payments: Vec<_> = ids.iter().rev().map(|id| payment(*id, 5, State::Authorising)).collect();
    till.save(&payments, &[]).await.expect("they are sound");
    ids.sort();
    let mut asked = vec![order(), ids[3], ids[15], ids[0], ids[3], ids[8]];
    asked.extend(&ids[5..7]);
    let mut tx = till.store.begin().await.expect("a transaction");
    let locked = tx.lock(&asked).await.expect("the rows");
    let found: Vec<SagaId> = locked.into_iter().map(|payment| payment.order).collect();
    assert_eq!(found, [ids[0], ids[3], ids[5], ids[6], ids[8], ids[15]]);
    assert_eq!(tx.lock(&[]).await, Ok(vec![]));
    assert_eq!(tx.lock(&[order()]).await, Ok(vec![]));
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
