//! Without a commit neither payments nor ledger nor refunds stay.

use saga_kit::Store;
use saga_payment::{Entry, Kind, Refund, RefundState, State, table::Payments};
use saga_proto::Money;

use super::{Till, order, payment};

async fn property<S: Store<Tx: Payments>>(till: &Till<S>) {
    let id = order();
    let amount = Money::new(5, "EUR");
    let entry = Entry { saga: id, order: id, kind: Kind::Voided, amount: amount.clone() };
    let refund = Refund { saga: order(), order: id, amount, state: RefundState::Intended };
    let mut tx = till.store.begin().await.expect("a transaction");
    tx.open(&[payment(id, 5, State::Authorising)]).await.expect("written");
    tx.save(&[payment(id, 5, State::Voided { provider_id: None })], &[entry])
        .await
        .expect("written");
    tx.save_refunds(std::slice::from_ref(&refund)).await.expect("written");
    assert_eq!(tx.refunds(&[id]).await, Ok(vec![refund]), "it sees its own");
    drop(tx);
    assert_eq!(till.probe.number("SELECT count(*) FROM payments").await, 0);
    assert_eq!(till.probe.number("SELECT count(*) FROM payment_ledger").await, 0);
    assert_eq!(till.probe.number("SELECT count(*) FROM refunds").await, 0);
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
