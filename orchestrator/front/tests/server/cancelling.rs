//! Cancelling orders.

use std::time::Duration;

use saga_core::{Cause, Phase};
use saga_proto::{
    order::v1::OrderStatus,
    shop::v1::{CancelOrderRequest, CancelOrderResponse},
};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::world::{Answer, World, fields, reason, waiting};

async fn cancel(world: &World, id: &str, why: &str) -> Result<CancelOrderResponse, Status> {
    let request = CancelOrderRequest { order_id: id.to_owned(), reason: why.to_owned() };
    world.orders().cancel_order(request).await.map(Response::into_inner)
}

#[tokio::test]
async fn an_order_is_cancelled_before_its_payment_and_cancelling_again_says_the_same() {
    let world = World::new().await;
    world.broker.answer("authorise-payment/action", Answer::Hold);
    let id = world.placed("k").await;
    world.until("the payment is asked for", |w| w.broker.seen("authorise-payment/action")).await;
    for _ in 0..2 {
        let cancelled = cancel(&world, &id, "").await.expect("in time");
        assert_eq!(cancelled.status(), OrderStatus::Cancelled);
    }
    assert!(
        world.broker.seen("authorise-payment/compensation"),
        "what may have been held is let go"
    );
    let saga = world.saga(&id);
    let Phase::Compensated(Cause::Cancelled(wish)) = &saga.phase else { panic!("{saga:?}") };
    assert_eq!((wish.by.as_str(), wish.reason.as_str()), ("anonymous", "cancelled by the client"));
}

#[tokio::test]
async fn a_cancel_that_takes_longer_than_the_limit_is_pending_and_goes_on() {
    let world = World::with(|s| s.desk.wait_limit = Duration::from_millis(50)).await;
    world.broker.answer("authorise-payment/action", Answer::Hold);
    world.broker.answer("create-order/compensation", Answer::Hold);
    let id = world.placed("k").await;
    let cancelled = cancel(&world, &id, "too dear").await.expect("no error");
    assert_eq!(cancelled.status(), OrderStatus::Pending);
    world
        .until("all but the order is undone", |w| w.broker.seen("create-order/compensation"))
        .await;
    world.broker.release("create-order/compensation", Answer::Done);
    world.until_ended(&id).await;
    assert_eq!(cancel(&world, &id, "").await.expect("known").status(), OrderStatus::Cancelled);
    let again = world.place(waiting("k")).await.expect("known");
    assert_eq!(again.status(), OrderStatus::Cancelled);
    assert_eq!((again.reason_code.as_str(), again.reason.as_str()), ("CANCELLED", "too dear"));
}

#[tokio::test]
async fn a_cancel_while_the_payment_is_open_waits_for_it_and_is_refused_if_it_was_captured() {
    let world = World::new().await;
    world.broker.answer("capture-payment/action", Answer::Hold);
    world.broker.answer("confirm-order/action", Answer::Hold);
    let id = world.placed("k").await;
    world.until("the pivot is open", |w| w.broker.seen("capture-payment/action")).await;
    let (answer, ()) = tokio::join!(cancel(&world, &id, ""), async {
        world.until("the wish is recorded", |w| w.saga(&id).cancel.is_some()).await;
        world.broker.release("capture-payment/action", Answer::Done);
    });
    paid(&answer.expect_err("captured"), &id);
    world.broker.release("confirm-order/action", Answer::Done);
    assert!(matches!(world.until_ended(&id).await.phase, Phase::Completed));
}

#[tokio::test]
async fn a_cancel_while_the_payment_is_open_counts_if_it_is_refused() {
    let world = World::new().await;
    world.broker.answer("capture-payment/action", Answer::Hold);
    let id = world.placed("k").await;
    world.until("the pivot is open", |w| w.broker.seen("capture-payment/action")).await;
    let (answer, ()) = tokio::join!(cancel(&world, &id, ""), async {
        world.until("the wish is recorded", |w| w.saga(&id).cancel.is_some()).await;
        world.broker.release("capture-payment/action", Answer::Refuse("EXPIRED"));
    });
    assert_eq!(answer.expect("undone").status(), OrderStatus::Cancelled);
}

#[tokio::test]
async fn a_cancel_after_the_pivot_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let id = world.place(waiting("k")).await.expect("accepted").order_id;
    let before = world.saga(&id).version;
    paid(&cancel(&world, &id, "").await.expect_err("too late"), &id);
    assert_eq!(world.saga(&id).version, before);
}

fn paid(status: &Status, id: &str) {
    assert_eq!((status.code(), reason(status).as_str()), (Code::FailedPrecondition, "ORDER_PAID"));
    assert!(status.message().contains("return it with ReturnOrder"), "{}", status.message());
    let details = status.get_details_precondition_failure().expect("why");
    assert_eq!(details.violations[0].subject, id);
}

#[tokio::test]
async fn a_cancel_of_an_order_that_was_rejected_says_why_it_was() {
    let world = World::new().await;
    world.broker.answer("reserve-stock/action", Answer::Refuse("OUT_OF_STOCK"));
    let id = world.place(waiting("k")).await.expect("accepted").order_id;
    let status = cancel(&world, &id, "").await.expect_err("undone already");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(reason(&status), "ORDER_ALREADY_UNDONE");
    assert!(status.message().contains("OUT_OF_STOCK"), "{}", status.message());
}

#[tokio::test]
async fn a_cancel_of_what_does_not_exist_or_is_no_id_is_refused() {
    let world = World::new().await;
    let unknown = cancel(&world, "01890a5d-ac96-774b-bcce-b302099a8057", "").await;
    assert_eq!(unknown.expect_err("unknown").code(), Code::NotFound);
    for id in ["", "x", "01890A5D-AC96-774B-BCCE-B302099A8057", "'; DROP TABLE sagas;--"] {
        let status = cancel(&world, id, "").await.expect_err("no id");
        assert_eq!(
            (status.code(), fields(&status)),
            (Code::InvalidArgument, vec!["order_id".into()])
        );
    }
}

#[tokio::test]
async fn a_reason_that_is_too_long_or_has_control_characters_is_refused() {
    let world = World::new().await;
    world.broker.answer("create-order/action", Answer::Hold);
    let id = world.placed("k").await;
    for why in ["x".repeat(501), "\0".to_owned()] {
        let status = cancel(&world, &id, &why).await.expect_err("no reason");
        assert_eq!(
            (status.code(), fields(&status)),
            (Code::InvalidArgument, vec!["reason".into()])
        );
    }
    assert_eq!(world.saga(&id).version, 1, "nothing was asked for");
    let answer = cancel(&world, &id, &"ß".repeat(500)).await.expect("500 characters");
    assert_eq!(answer.status(), OrderStatus::Cancelled);
}
