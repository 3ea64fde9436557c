//! A saga's effect of one kind is in the ledger once, as it was first written;
//! other sagas and kinds have lines of their own.

use saga_core::SagaId;
use saga_kit::Store;
use saga_payment::{Entry, Kind, table::Payments};
use saga_proto::Money;

use super::{Till, order};

pub(super) async fn property<S: Store<Tx: Payments>>(till: &Till<S>) {
    let (a, refunding) = (order(), order());
    let entry = |saga: SagaId, kind, amount| Entry {
        saga,
        order: a,
        kind,
        amount: Money::new(amount, "EUR"),
    };
    let kinds = [Kind::Authorised, Kind::Declined, Kind::Voided, Kind::Captured, Kind::Refunded];
    let lines: Vec<Entry> = kinds.into_iter().map(|kind| entry(a, kind, i64::MAX)).collect();
    till.save(&[], &lines).await.expect("they are sound");
    till.save(&[], &lines).await.expect("they are sound");
    let mut again: Vec<Entry> = kinds.into_iter().map(|kind| entry(a, kind, 1)).collect();
    again.push(entry(refunding, Kind::Refunded, 5));
    again.push(entry(refunding, Kind::Refunded, 6));
    till.save(&[], &again).await.expect("they are sound");
    till.save(&[], &[]).await.expect("nothing");
    assert_eq!(till.probe.number("SELECT count(*) FROM payment_ledger").await, 6);
    let first = "SELECT count(*) FROM payment_ledger WHERE amount = 9223372036854775807";
    assert_eq!(till.probe.number(first).await, 5);
    let refunded =
        "SELECT amount FROM payment_ledger WHERE kind = 'refunded' AND saga_id <> order_id";
    assert_eq!(till.probe.number(refunded).await, 5);
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
