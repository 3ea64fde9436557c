//! Row locks: one transaction at a time decides on a payment.

use futures::future::join_all;
use saga_core::SagaId;
use saga_kit::Store;
use saga_payment::{State, table::Payments};
use uuid::Uuid;

use super::{Till, order, payment};

holds_on! { Till::{postgres, sqlite, in_memory}:
    payments_are_locked_in_the_orders_order,
    locks_in_opposite_order_do_not_deadlock,
    whoever_locks_a_locked_payment_sees_what_was_saved,
}

/// Locking returns each existing payment once, in the order of the bytes of the orders' ids.
async fn payments_are_locked_in_the_orders_order<S: Store<Tx: Payments>>(till: Till<S>) {
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

/// Transactions that lock the same payments in different sequences wait, but do not deadlock.
pub(super) async fn locks_in_opposite_order_do_not_deadlock<S: Store<Tx: Payments>>(till: Till<S>) {
    let ids: Vec<SagaId> = (0..40).map(|_| order()).collect();
    let payments: Vec<_> = ids.iter().map(|id| payment(*id, 5, State::Authorising)).collect();
    till.save(&payments, &[]).await.expect("they are sound");
    let replicas = (0..8).map(|replica| {
        let (store, mut ids) = (till.store.clone(), ids.clone());
        if replica % 2 == 1 {
            ids.reverse();
        }
        ids.rotate_left(replica * 4);
        tokio::spawn(async move {
            for _ in 0..10 {
                let mut tx = store.begin().await.expect("a transaction");
                let locked = tx.lock(&ids).await.expect("no deadlock");
                assert_eq!(locked.len(), ids.len());
                tx.save(&locked, &[]).await.expect("no deadlock");
                store.commit(tx).await.expect("committed");
            }
        })
    });
    for replica in join_all(replicas).await {
        replica.expect("no conflict");
    }
}

/// Transactions on one payment run one after the other, so each decides on the state that the one
/// before has saved.
pub(super) async fn whoever_locks_a_locked_payment_sees_what_was_saved<S: Store<Tx: Payments>>(
    till: Till<S>,
) {
    const REPLICAS: i64 = 8;
    const ROUNDS: i64 = 10;
    let id = order();
    let captured = |refunded| State::Captured { provider_id: "p1".to_owned(), refunded };
    till.save(&[payment(id, 1_000, captured(0))], &[]).await.expect("it is sound");
    let replicas = (0..REPLICAS).map(|_| {
        let store = till.store.clone();
        tokio::spawn(async move {
            for _ in 0..ROUNDS {
                let mut tx = store.begin().await.expect("a transaction");
                let mut found = tx.lock(&[id]).await.expect("no conflict");
                let State::Captured { refunded, .. } = &mut found[0].state else {
                    panic!("captured")
                };
                *refunded += 1;
                tokio::task::yield_now().await;
                tx.save(&found, &[]).await.expect("no conflict");
                store.commit(tx).await.expect("committed");
            }
        })
    });
    for replica in join_all(replicas).await {
        replica.expect("no conflict");
    }
    let expected = payment(id, 1_000, captured(REPLICAS * ROUNDS));
    assert_eq!(till.payments(std::slice::from_ref(&expected)).await, [expected]);
}
