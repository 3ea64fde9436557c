//! What the tables forbid will never be right, and what stood beside it is not
//! written either.

use saga_core::Failure;
use saga_kit::Store;
use saga_payment::{Entry, Kind, Payment, Refund, RefundState, State, table::Payments};
use saga_proto::Money;

use super::{Till, order, payment};

async fn property<S: Store<Tx: Payments>>(till: &Till<S>) {
    let id = order();
    let first = payment(id, 100, State::Authorising);
    till.save(std::slice::from_ref(&first), &[]).await.expect("it is sound");
    let captured = |provider_id: &str, refunded| State::Captured {
        provider_id: provider_id.to_owned(),
        refunded,
    };
    let money = |amount, currency: &str| Payment {
        amount: Money::new(amount, currency),
        ..payment(order(), 1, State::Authorising)
    };
    let wrong = [
        payment(id, 100, captured("p1", 101)),
        payment(id, 100, captured("p1", -1)),
        payment(id, 100, captured("p1", i64::MAX)),
        payment(id, 100, captured("p1", i64::MIN)),
        payment(order(), i64::MAX, captured("p1", -1)),
        payment(id, 100, captured("nul\0", 0)),
        payment(id, 100, State::Authorised { provider_id: "\0".to_owned() }),
        payment(id, 100, State::Declined { provider_id: None, code: "NUL\0".to_owned() }),
        payment(id, 100, State::Voided { provider_id: Some("nul\0".to_owned()) }),
        money(0, "EUR"),
        money(-1, "EUR"),
        money(i64::MIN, "EUR"),
        money(1, ""),
        money(1, "eur"),
        money(1, "EU"),
        money(1, "EURO"),
        money(1, "EU\u{c9}"),
        money(1, "EUR\n"),
        money(1, "EUR\0"),
    ];
    let line = |amount, currency: &str| Entry {
        saga: id,
        order: id,
        kind: Kind::Authorised,
        amount: Money::new(amount, currency),
    };
    let permanent = |result: Result<(), Failure>, what: &dyn std::fmt::Debug| {
        assert!(matches!(result, Err(Failure::Permanent(_))), "{what:?}: {result:?}");
    };
    for wrong in wrong {
        let beside = payment(order(), 1, State::Authorising);
        permanent(till.save(&[beside, wrong.clone()], &[line(1, "EUR")]).await, &wrong);
        if wrong.order != id {
            let mut tx = till.store.begin().await.expect("a transaction");
            permanent(tx.open(std::slice::from_ref(&wrong)).await, &wrong);
        }
    }
    for wrong in [line(0, "EUR"), line(-1, "EUR"), line(1, "EUR\0")] {
        let beside = payment(id, 100, State::Voided { provider_id: None });
        permanent(till.save(&[beside], std::slice::from_ref(&wrong)).await, &wrong);
    }
    for (amount, currency) in [(0, "EUR"), (i64::MIN, "EUR"), (1, "EUR\0")] {
        let amount = Money::new(amount, currency);
        let good = Refund {
            saga: order(),
            order: id,
            amount: Money::new(1, "EUR"),
            state: RefundState::Done,
        };
        let wrong = Refund { saga: order(), amount, ..good.clone() };
        permanent(till.save_refunds(&[good, wrong.clone()]).await, &wrong);
    }
    assert_eq!(till.payments(std::slice::from_ref(&first)).await, [first]);
    assert_eq!(till.probe.number("SELECT count(*) FROM payments").await, 1);
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
