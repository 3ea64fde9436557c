//! Tests of refunds.

use std::{pin::pin, time::Duration};

use saga_core::{Answer, Refusal, SagaId};
use saga_kit::{Asked, HandleOutside, Intending, Intent, Store};
use saga_payment::Cashier;
use saga_postgres::Inbox;
use saga_proto::{Money, payment::v1::RefundPayment};
use serde_json::json;

use crate::shop::{Became, PRICE, Shop, order, refund};

fn done() -> Became {
    Became::Done(json!({}))
}

fn refused(code: &str) -> Became {
    Became::Refused(code.to_owned())
}

async fn paid(shop: &Shop) -> SagaId {
    let order = order();
    shop.authorise(order, "tok_approved").await;
    assert!(matches!(shop.capture(order).await, Became::Done(_)));
    order
}

async fn refunded(shop: &Shop, order: SagaId) -> i64 {
    sqlx::query_scalar("SELECT refunded FROM payments WHERE order_id = $1")
        .bind(order.0)
        .fetch_one(&shop.pool)
        .await
        .expect("a row")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_given_back_than_was_taken() {
    let shop = Shop::open("refund").await;
    let paid = paid(&shop).await;
    let first = order();
    for _ in 0..2 {
        assert_eq!(shop.refund(first, paid, 600).await, done());
    }
    assert_eq!(shop.refund(order(), paid, 401).await, refused("REFUND_EXCEEDS_CAPTURED"));
    assert_eq!(shop.refund(order(), paid, 400).await, done());
    assert_eq!(refunded(&shop, paid).await, PRICE);
    let theirs = shop.theirs(paid).await.expect("a payment");
    assert_eq!(theirs["refunded"], PRICE);
    assert_eq!(shop.ledger(paid).await, ["authorised", "captured", "refunded", "refunded"]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_refunds_side_by_side_only_those_that_fit_are_made() {
    let shop = Shop::open("refund_beside").await;
    let paid = paid(&shop).await;
    let in_one_parcel: Vec<_> = (0..5).map(|_| refund(order(), paid, 300)).collect();
    let (together, apart) =
        tokio::join!(shop.send(&in_one_parcel), shop.refund(order(), paid, 300));
    let made = together.iter().chain([&apart]).filter(|became| **became == done()).count();
    assert_eq!(made, 3, "{together:?} {apart:?}");
    assert_eq!(refunded(&shop, paid).await, 900);
    assert_eq!(shop.theirs(paid).await.expect("a payment")["refunded"], 900);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_taken_can_be_given_back() {
    let shop = Shop::open("refund_nothing").await;
    let held = order();
    shop.authorise(held, "tok_approved").await;
    assert_eq!(shop.refund(order(), held, 1).await, refused("NOT_CAPTURED"));
    assert_eq!(shop.refund(order(), order(), 1).await, refused("NOT_CAPTURED"));
    let paid = paid(&shop).await;
    for amount in [0, -1] {
        assert_eq!(shop.refund(order(), paid, amount).await, refused("INVALID_AMOUNT"));
    }
    assert_eq!(refunded(&shop, paid).await, 0);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_waits_for_the_reservation_of_another_and_then_counts_it() {
    let shop = Shop::open("refund_replicas").await;
    let paid = paid(&shop).await;
    let store = Inbox::new(shop.pool.clone());
    let wish = || {
        let amount = Some(Money::new(600, "EUR"));
        let command = RefundPayment { order_id: paid.to_string(), amount };
        [Intending { asked: Asked { saga: order(), command }, resumed: false, never_sent: false }]
    };

    let mut first = store.begin().await.expect("a transaction");
    let cashier = Cashier::new(shop.client.clone());
    let intents = cashier.intend(&mut first, &wish()).await.expect("decided");
    assert!(matches!(intents[..], [Intent::Ask(_)]));

    let (other, wish) = (Cashier::new(shop.client.clone()), wish());
    let mut second = pin!(async {
        let mut tx = store.begin().await.expect("a transaction");
        let intents = other.intend(&mut tx, &wish).await.expect("decided");
        store.commit(tx).await.expect("committed");
        intents
    });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
    assert!(early.is_err(), "the first has the lock");
    store.commit(first).await.expect("committed");
    let intents = second.await;
    let [Intent::Answer(Answer::Refused(Refusal { code, .. }))] = &intents[..] else {
        panic!("only 400 are left")
    };
    assert_eq!(code, "REFUND_EXCEEDS_CAPTURED");
    shop.close().await;
}
