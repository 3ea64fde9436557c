//! What an order costs is written once: saving moves the state alone.

use saga_kit::Store;
use saga_payment::{Payment, State, table::Payments};
use saga_proto::Money;

use super::{Till, order, payment};

pub(super) async fn property<S: Store<Tx: Payments>>(till: &Till<S>) {
    let id = order();
    till.save(&[payment(id, 500, State::Authorising)], &[]).await.expect("it is sound");
    let captured = State::Captured { provider_id: "p1".to_owned(), refunded: 300 };
    let dearer = Payment { amount: Money::new(900, "USD"), ..payment(id, 0, captured.clone()) };
    till.save(std::slice::from_ref(&dearer), &[]).await.expect("it is sound");
    assert_eq!(till.payments(&[dearer]).await, [payment(id, 500, captured)]);
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
