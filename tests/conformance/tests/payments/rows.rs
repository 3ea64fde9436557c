//! Payments, refunds and the ledger are written once and read back.

use saga_core::{Failure, SagaId};
use saga_kit::Store;
use saga_payment::{Entry, Kind, Payment, Refund, RefundState, State, table::Payments};
use saga_proto::Money;

use super::{Till, order, payment, states};

holds_on! { Till::{postgres, sqlite, in_memory}:
    every_state_is_read_back,
    opening_leaves_out_what_is_there,
    the_amount_of_a_payment_never_changes,
    everything_that_was_taken_can_be_given_back,
    refunds_are_read_back_by_order,
    the_ledger_has_a_line_once,
    a_dropped_transaction_leaves_nothing,
    what_breaks_a_constraint_is_permanent_and_leaves_nothing,
}

/// A payment is read back as it was written, in every state, whether it is inserted or updated.
async fn every_state_is_read_back<S: Store<Tx: Payments>>(till: Till<S>) {
    let payments: Vec<Payment> = states()
        .into_iter()
        .zip([1, i64::MAX, 9_007_199_254_740_993].into_iter().cycle())
        .map(|(state, amount)| Payment { order: order(), amount: Money::new(amount, "EUR"), state })
        .collect();
    till.save(&payments, &[]).await.expect("they are sound");
    assert_eq!(till.payments(&payments).await, payments);
    // Each payment then gets each other state: the row keeps nothing of the old one.
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

/// An order has one payment. Opening it again changes nothing, and new payments in the same call
/// are opened.
async fn opening_leaves_out_what_is_there<S: Store<Tx: Payments>>(till: Till<S>) {
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

/// Saving changes only a payment's state, never its amount.
pub(super) async fn the_amount_of_a_payment_never_changes<S: Store<Tx: Payments>>(till: Till<S>) {
    let id = order();
    till.save(&[payment(id, 500, State::Authorising)], &[]).await.expect("it is sound");
    let captured = State::Captured { provider_id: "p1".to_owned(), refunded: 300 };
    let dearer = Payment { amount: Money::new(900, "USD"), ..payment(id, 0, captured.clone()) };
    till.save(std::slice::from_ref(&dearer), &[]).await.expect("it is sound");
    assert_eq!(till.payments(&[dearer]).await, [payment(id, 500, captured)]);
}

/// Even the largest amount can be refunded in full.
async fn everything_that_was_taken_can_be_given_back<S: Store<Tx: Payments>>(till: Till<S>) {
    for amount in [1, i64::MAX - 1, i64::MAX] {
        let captured =
            State::Captured { provider_id: "\u{1F375}' OR 1=1".to_owned(), refunded: amount };
        let whole = payment(order(), amount, captured);
        till.save(std::slice::from_ref(&whole), &[]).await.expect("it is sound");
        assert_eq!(till.payments(std::slice::from_ref(&whole)).await, [whole]);
    }
}

/// A saga's refund is written once, and afterwards only its state changes. An order's refunds are
/// all read back, without those of other orders.
async fn refunds_are_read_back_by_order<S: Store<Tx: Payments>>(till: Till<S>) {
    let (a, b, without) = (order(), order(), order());
    let refund = |order, amount, state| Refund {
        saga: super::order(),
        order,
        amount: Money::new(amount, "EUR"),
        state,
    };
    let mut of_a = vec![
        refund(a, 1, RefundState::Intended),
        refund(a, i64::MAX, RefundState::Done),
        refund(a, 9_007_199_254_740_993, RefundState::Refused),
    ];
    let of_b = vec![refund(b, 7, RefundState::Intended)];
    till.save_refunds(&[of_a.clone(), of_b.clone()].concat()).await.expect("they are sound");
    of_a.sort_by_key(|refund| refund.saga);
    assert_eq!(till.refunds(&[a, without, a]).await, of_a);
    assert_eq!(till.refunds(&[without]).await, []);
    for state in [RefundState::Done, RefundState::Refused, RefundState::Intended] {
        let changed: Vec<Refund> = of_a
            .iter()
            .map(|refund| Refund {
                order: b,
                amount: Money::new(3, "USD"),
                state,
                ..refund.clone()
            })
            .collect();
        till.save_refunds(&changed).await.expect("they are sound");
        let expected: Vec<Refund> =
            of_a.iter().map(|refund| Refund { state, ..refund.clone() }).collect();
        assert_eq!(till.refunds(&[a]).await, expected);
    }
    assert_eq!(till.refunds(&[b]).await, of_b);
}

/// The ledger has each effect of a saga once, as it was first written. Other sagas and other kinds
/// of effect have their own lines.
pub(super) async fn the_ledger_has_a_line_once<S: Store<Tx: Payments>>(till: Till<S>) {
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

/// A dropped transaction leaves neither payments nor ledger lines nor refunds.
async fn a_dropped_transaction_leaves_nothing<S: Store<Tx: Payments>>(till: Till<S>) {
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

/// Values that the tables forbid fail for good, and nothing of their transaction is written.
async fn what_breaks_a_constraint_is_permanent_and_leaves_nothing<S: Store<Tx: Payments>>(
    till: Till<S>,
) {
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
