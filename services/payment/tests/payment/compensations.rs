//! Compensations: after the hold, without a hold, and at the same time as the hold.

use std::time::{Duration, Instant};

use saga_payment::Availability;
use serde_json::json;

use crate::shop::{Became, Shop, order};

fn held() -> Became {
    Became::Done(json!({ "wasHeld": true }))
}

fn nothing_held() -> Became {
    Became::Done(json!({}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_is_let_go_once_and_said_so_once() {
    let shop = Shop::open("void").await;
    let order = order();
    shop.authorise(order, "tok_approved").await;
    for _ in 0..2 {
        assert_eq!(shop.void(order).await, held());
    }
    assert_eq!(shop.status(order).await.as_deref(), Some("voided"));
    assert_eq!(shop.their_status(order).await.as_deref(), Some("cancelled"));
    assert_eq!(shop.ledger(order).await, ["authorised", "voided"]);
    let mut events = shop.line.events();
    events.dedup();
    assert_eq!(
        events,
        ["payment.authorised", "payment.voided", "payment.authorised", "payment.voided"]
    );
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_answer_was_lost_is_let_go_at_the_provider() {
    let shop = Shop::open("void_lost").await;
    let order = order();
    assert_eq!(shop.authorise(order, "tok_answer_lost").await, Became::Dropped);
    assert_eq!(shop.their_status(order).await.as_deref(), Some("authorised"));
    assert_eq!(shop.void(order).await, held());
    assert_eq!(shop.their_status(order).await.as_deref(), Some("cancelled"));
    assert_eq!(shop.status(order).await.as_deref(), Some("voided"));
    assert_eq!(shop.ledger(order).await, ["authorised", "voided"]);
    // The action arrives a second time, after its compensation.
    assert_eq!(shop.authorise(order, "tok_answer_lost").await, Became::TooLate);
    assert_eq!(shop.their_status(order).await.as_deref(), Some("cancelled"));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_comes_first_leaves_the_late_hold_nothing_to_do() {
    let shop = Shop::open("void_first").await;
    let order = order();
    assert_eq!(shop.void(order).await, nothing_held());
    assert_eq!(shop.authorise(order, "tok_approved").await, Became::TooLate);
    assert_eq!(shop.theirs(order).await, None);
    assert!(shop.line.events().is_empty());
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_beside_a_hold_that_is_being_asked_for_leaves_no_hold() {
    let shop = Shop::open("void_beside").await;
    let order = order();
    let (authorised, voided) = tokio::join!(shop.authorise(order, "tok_slow"), async {
        let until = Instant::now() + Duration::from_secs(20);
        while shop.theirs(order).await.is_none() {
            assert!(Instant::now() < until, "the provider never had it");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        shop.void(order).await
    });
    assert_eq!((authorised, voided), (Became::TooLate, held()));
    assert_eq!(shop.their_status(order).await.as_deref(), Some("cancelled"));
    assert_eq!(shop.status(order).await.as_deref(), Some("voided"));
    assert_eq!(shop.ledger(order).await, ["authorised", "voided"]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_was_never_asked_for_is_let_go_without_the_provider() {
    let mut shop = Shop::open("void_unsent").await;
    let order = order();
    shop.provider_goes().await;
    // At first the connection fails; then the breaker is open.
    for _ in 0..8 {
        assert_eq!(shop.authorise(order, "tok_approved").await, Became::Dropped);
    }
    assert!(matches!(shop.client.availability(), Availability::Open { .. }));
    assert_eq!(shop.status(order).await.as_deref(), Some("authorising"));
    assert_eq!(shop.void(order).await, nothing_held());
    assert_eq!(shop.status(order).await.as_deref(), Some("voided"));
    assert!(shop.ledger(order).await.is_empty());
    assert_eq!(shop.authorise(order, "tok_approved").await, Became::TooLate);
    assert!(shop.line.events().is_empty());
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_may_have_been_asked_for_once_is_looked_up_whatever_was_not_sent_later() {
    let mut shop = Shop::open("void_maybe_sent").await;
    let order = order();
    assert_eq!(shop.authorise(order, "tok_answer_lost").await, Became::Dropped);
    shop.provider_goes().await;
    for _ in 0..3 {
        assert_eq!(shop.authorise(order, "tok_answer_lost").await, Became::Dropped);
        assert_eq!(shop.void(order).await, Became::Dropped, "it may be held");
    }
    shop.provider_returns().await;
    assert_eq!(shop.void(order).await, held());
    assert_eq!(shop.their_status(order).await.as_deref(), Some("cancelled"));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_was_not_sent_at_first_is_asked_for_once_the_provider_is_back() {
    let mut shop = Shop::open("sent_later").await;
    let order = order();
    shop.provider_goes().await;
    assert_eq!(shop.authorise(order, "tok_approved").await, Became::Dropped);
    shop.provider_returns().await;
    assert_eq!(shop.authorise(order, "tok_approved").await, Became::Done(json!({})));
    assert_eq!(shop.void(order).await, held());
    assert_eq!(shop.ledger(order).await, ["authorised", "voided"]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_capture_leaves_the_hold_to_be_let_go() {
    let shop = Shop::open("capture_declined").await;
    let order = order();
    shop.authorise(order, "tok_capture_declined").await;
    assert_eq!(shop.capture(order).await, Became::Refused("CAPTURE_DECLINED".to_owned()));
    assert_eq!(shop.status(order).await.as_deref(), Some("authorised"));
    assert_eq!(shop.void(order).await, held());
    assert_eq!(shop.their_status(order).await.as_deref(), Some("cancelled"));
    assert_eq!(shop.ledger(order).await, ["authorised", "voided"]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_was_taken_is_never_let_go() {
    let shop = Shop::open("void_captured").await;
    let order = order();
    shop.authorise(order, "tok_approved").await;
    shop.capture(order).await;
    assert_eq!(shop.void(order).await, Became::Refused("ALREADY_CAPTURED".to_owned()));
    assert_eq!(shop.status(order).await.as_deref(), Some("captured"));
    assert_eq!(shop.their_status(order).await.as_deref(), Some("captured"));
    shop.close().await;
}
