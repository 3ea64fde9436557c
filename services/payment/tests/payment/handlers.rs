//! Tests of holds and captures.

use saga_core::Direction;
use saga_payment::Availability;
use saga_proto::{Money, payment::v1::AuthorisePayment};
use saga_taps::command;
use serde_json::json;

use crate::shop::{Became, Shop, authorise, id, order};

fn done() -> Became {
    Became::Done(json!({}))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approved_card_is_held_and_then_taken_and_both_ledgers_say_so() {
    let shop = Shop::open("approved").await;
    let order = order();
    assert_eq!(shop.authorise(order, "tok_approved-canary").await, done());
    assert_eq!(shop.status(order).await.as_deref(), Some("authorised"));
    let taken = json!({ "amount": { "minorUnits": "1000", "currency": "EUR" } });
    assert_eq!(shop.capture(order).await, Became::Done(taken));
    assert_eq!(shop.status(order).await.as_deref(), Some("captured"));
    assert_eq!(shop.their_status(order).await.as_deref(), Some("captured"));
    assert_eq!(shop.ledger(order).await, ["authorised", "captured"]);
    assert_eq!(shop.line.events(), ["payment.authorised", "payment.captured"]);
    assert!(!shop.line.everything().contains("canary"), "the token leaves no trace");
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_waits_for_its_event_to_be_taken() {
    let shop = Shop::open("event").await;
    let order = order();
    shop.line.refuse_events(true);
    assert_eq!(shop.authorise(order, "tok_approved").await, Became::Dropped);
    assert_eq!(shop.status(order).await.as_deref(), Some("authorised"));
    shop.line.refuse_events(false);
    assert_eq!(shop.authorise(order, "tok_approved").await, done());
    assert_eq!(shop.line.events(), ["payment.authorised"]);
    assert_eq!(shop.ledger(order).await, ["authorised"]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_is_a_refusal_with_its_code_and_nothing_is_to_undo() {
    let shop = Shop::open("declined").await;
    for (token, code) in [
        ("tok_declined", "CARD_DECLINED"),
        ("tok_insufficient_funds", "INSUFFICIENT_FUNDS"),
        ("4111111111111111", "INVALID_TOKEN"),
    ] {
        let order = order();
        assert_eq!(shop.authorise(order, token).await, Became::Refused(code.to_owned()));
        assert_eq!(shop.authorise(order, token).await, Became::Refused(code.to_owned()));
        assert_eq!(shop.status(order).await.as_deref(), Some("declined"));
        assert_eq!(shop.void(order).await, done());
        assert_eq!(shop.ledger(order).await, ["declined"]);
    }
    assert!(shop.line.events().iter().all(|key| key == "payment.declined"));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_that_cannot_be_paid_is_refused_without_asking() {
    let shop = Shop::open("amount").await;
    for amount in
        [None, Some(Money::new(0, "EUR")), Some(Money::new(-5, "EUR")), Some(Money::new(5, ""))]
    {
        let order = order();
        let authorise = AuthorisePayment { amount, payment_token: "tok_approved".to_owned() };
        let authorise = command(id(order, "authorise-payment", Direction::Action), &authorise);
        let became = shop.send(&[authorise]).await;
        assert_eq!(became, [Became::Refused("INVALID_AMOUNT".to_owned())]);
        assert_eq!((shop.theirs(order).await, shop.status(order).await), (None, None));
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_dropped_and_the_next_sending_finds_it() {
    let shop = Shop::open("lost").await;
    let order = order();
    assert_eq!(shop.authorise(order, "tok_answer_lost").await, Became::Dropped);
    assert_eq!(shop.status(order).await.as_deref(), Some("authorising"));
    assert_eq!(shop.authorise(order, "tok_answer_lost").await, done());
    assert_eq!(shop.ledger(order).await, ["authorised"]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_whose_answer_was_lost_is_one_capture_however_often_it_is_sent() {
    let shop = Shop::open("capture_lost").await;
    let order = order();
    assert_eq!(shop.authorise(order, "tok_capture_answer_lost").await, done());
    assert_eq!(shop.capture(order).await, Became::Dropped);
    for _ in 0..3 {
        assert!(matches!(shop.capture(order).await, Became::Done(_)));
    }
    assert_eq!(shop.ledger(order).await, ["authorised", "captured"]);
    let theirs = shop.theirs(order).await.expect("a payment");
    assert_eq!(theirs["captured"], 1_000);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_a_restored_database_has_forgotten_is_found_and_not_refused() {
    let shop = Shop::open("restored").await;
    let order = order();
    assert_eq!(shop.authorise(order, "tok_approved").await, done());
    let taken = shop.capture(order).await;
    assert!(matches!(taken, Became::Done(_)));
    shop.forget(order).await;
    assert_eq!(shop.capture(order).await, taken);
    assert_eq!(shop.status(order).await.as_deref(), Some("captured"));
    assert_eq!(shop.ledger(order).await, ["authorised", "captured"]);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_is_not_held_is_not_taken() {
    let shop = Shop::open("not_held").await;
    let refused = Became::Refused("NOT_AUTHORISED".to_owned());
    assert_eq!(shop.capture(order()).await, refused);
    let declined = order();
    shop.authorise(declined, "tok_declined").await;
    assert_eq!(shop.capture(declined).await, refused);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parcel_of_many_cards_holds_up_nobody_and_answers_each() {
    let shop = Shop::open("parcel").await;
    let orders: Vec<_> = (0..40).map(|_| order()).collect();
    let commands: Vec<_> = orders
        .iter()
        .enumerate()
        .map(|(n, order)| {
            authorise(*order, if n % 4 == 0 { "tok_declined" } else { "tok_approved" })
        })
        .collect();
    let became = shop.send(&commands).await;
    for (n, became) in became.iter().enumerate() {
        let declined = Became::Refused("CARD_DECLINED".to_owned());
        assert_eq!(*became, if n % 4 == 0 { declined } else { done() });
    }
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_down_drops_the_commands_and_is_reported_as_unavailable() {
    use saga_proto::payment::v1::{ReadAvailabilityRequest, payments_server::Payments as _};

    let shop = Shop::open("down").await;
    let order = order();
    // The provider fails the first three attempts with this card. Two more failures open the
    // breaker.
    for _ in 0..3 {
        assert_eq!(shop.authorise(order, "tok_down").await, Became::Dropped);
    }
    assert_eq!(shop.authorise(order, "tok_down").await, done());
    assert_eq!(shop.client.availability(), Availability::Closed);
    let surface = saga_payment::grpc::Surface::new(shop.client.clone());
    let read = surface.read_availability(tonic::Request::new(ReadAvailabilityRequest {})).await;
    let read = read.expect("an answer").into_inner();
    assert_eq!((read.breaker.as_str(), read.retry_after_millis), ("closed", 0));

    let others: Vec<_> = (0..5).map(|_| authorise(self::order(), "tok_down")).collect();
    for command in others {
        shop.send(&[command]).await;
    }
    let read = surface.read_availability(tonic::Request::new(ReadAvailabilityRequest {})).await;
    let read = read.expect("an answer").into_inner();
    // The breaker is open, or on a slow machine already half open.
    assert_ne!(read.breaker, "closed");
    shop.close().await;
}
