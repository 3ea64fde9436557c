//! A payment is read as it was written, in every state, whether it was there or
//! not.

use saga_kit::Store;
use saga_payment::{Payment, table::Payments};
use saga_proto::Money;

use super::{Till, order, states};

async fn property<S: Store<Tx: Payments>>(till: &Till<S>) {
    let payments: Vec<Payment> = states()
        .into_iter()
        .zip([1, i64::MAX, 9_007_199_254_740_993].into_iter().cycle())
        .map(|(state, amount)| Payment { order: order(), amount: Money::new(amount, "EUR"), state })
        .collect();
    till.save(&payments, &[]).await.expect("they are sound");
    assert_eq!(till.payments(&payments).await, payments);
    // From each state to each other one: a row keeps nothing of the state before.
    for state in states() {
        let changed: Vec<Payment> = payments
            .iter()
            .map(|payment| Payment { state: state.clone(), ..payment.clone() })
            .collect();
        till.save(&changed, &[]).await.expect("they are sound");
        assert_eq!(till.payments(&payments).await, changed);
        till.save(&payments, &[]).await.expect("they are sound");
        assert_eq!(till.payments(&payments).await, payments);
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
