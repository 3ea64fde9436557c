//! A saga's refund is written once and then moves its state alone; an order's
//! refunds are all of its, and no other's.

use saga_kit::Store;
use saga_payment::{Refund, RefundState, table::Payments};
use saga_proto::Money;

use super::{Till, order};

async fn property<S: Store<Tx: Payments>>(till: &Till<S>) {
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
