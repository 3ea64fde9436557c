//! The largest amount can be taken and given back whole, and no more.

use saga_kit::Store;
use saga_payment::{State, table::Payments};

use super::{Till, order, payment};

async fn property<S: Store<Tx: Payments>>(till: &Till<S>) {
    for amount in [1, i64::MAX - 1, i64::MAX] {
        let captured =
            State::Captured { provider_id: "\u{1F375}' OR 1=1".to_owned(), refunded: amount };
        let whole = payment(order(), amount, captured);
        till.save(std::slice::from_ref(&whole), &[]).await.expect("it is sound");
        assert_eq!(till.payments(std::slice::from_ref(&whole)).await, [whole]);
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
