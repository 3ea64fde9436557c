//! An order has one payment: a second opening changes nothing, and holds up nobody.

use saga_kit::Store;
use saga_payment::{State, table::Payments};

use super::{Till, order, payment};

async fn property<S: Store<Tx: Payments>>(till: &Till<S>) {
    let (a, b) = (order(), order());
    let first = payment(a, 5, State::Authorised { provider_id: "p1".to_owned() });
    till.save(std::slice::from_ref(&first), &[]).await.expect("it is sound");
    let again = payment(a, 6, State::Authorising);
    let new = payment(b, 7, State::Authorising);
    let mut tx = till.store.begin().await.expect("a transaction");
    tx.open(&[again.clone(), new.clone(), payment(b, 8, State::Authorising)])
        .await
        .expect("opened");
    till.store.commit(tx).await.expect("committed");
    assert_eq!(till.payments(&[again]).await, [first]);
    assert_eq!(till.payments(std::slice::from_ref(&new)).await, [new]);
    assert_eq!(till.probe.number("SELECT count(*) FROM payments").await, 2);
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
