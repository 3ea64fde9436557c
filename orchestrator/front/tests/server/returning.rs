//! Returning orders.

use std::time::Duration;

use saga_core::SagaId;
use saga_proto::{
    Money,
    shop::v1::{GetReturnRequest, Return, ReturnOrderRequest, ReturnOrderResponse, ReturnStatus},
    types::v1::Line,
};
use tonic::{Code, Status};

use crate::world::{Answer, World, fields, says_when, waiting};

const ORDER: &str = "01936e6a-7c1d-7000-8000-000000000000";

fn ask(key: &str) -> ReturnOrderRequest {
    ReturnOrderRequest {
        idempotency_key: key.to_owned(),
        order_id: ORDER.to_owned(),
        lines: vec![Line { sku: "teapot".to_owned(), quantity: 1 }],
        reason: "it leaks".to_owned(),
        wait: true,
    }
}

async fn give(world: &World, asked: ReturnOrderRequest) -> Result<ReturnOrderResponse, Status> {
    world.orders().return_order(asked).await.map(tonic::Response::into_inner)
}

async fn read(world: &World, return_id: &str) -> Result<Return, Status> {
    let request = GetReturnRequest { return_id: return_id.to_owned() };
    world.orders().get_return(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn who_waits_for_a_return_is_told_what_came_back_and_what_was_refunded() {
    let world = World::new().await;
    let told = give(&world, ask("k")).await.expect("accepted").details.expect("details");
    assert_eq!((told.status(), told.order_id.as_str()), (ReturnStatus::Done, ORDER));
    assert_eq!(told.amount, Some(Money::new(750, "EUR")));
    assert_eq!((told.lines.len(), told.lines[0].quantity), (1, 1));
    assert_eq!(read(&world, &told.return_id).await.expect("it is known"), told);
    let saga = world.saga(&told.return_id);
    assert_eq!(saga.definition, "return-order");
    // A return changes its order's rows.
    let order: SagaId = ORDER.parse().expect("an id");
    assert_eq!(saga.id.partition(), order.partition());
}

#[tokio::test]
async fn a_return_is_pending_until_its_order_and_its_payment_have_decided() {
    let world = World::new().await;
    world.broker.answer("open-return/action", Answer::Hold);
    let asked = ReturnOrderRequest { wait: false, ..ask("k") };
    let told = give(&world, asked).await.expect("accepted").details.expect("details");
    assert_eq!((told.status(), told.amount), (ReturnStatus::Pending, None));
    world.broker.release("open-return/action", Answer::Done);
    world.until_ended(&told.return_id).await;
    let ended = read(&world, &told.return_id).await.expect("it is known");
    assert_eq!(ended.status(), ReturnStatus::Done);
}

#[tokio::test]
async fn a_refused_refund_is_told_as_a_rejected_return_of_nothing() {
    let world = World::new().await;
    world.broker.answer("refund-payment/action", Answer::Refuse("NOT_CAPTURED"));
    let told = give(&world, ask("k")).await.expect("accepted").details.expect("details");
    assert_eq!(
        (told.status(), told.reason_code.as_str()),
        (ReturnStatus::Rejected, "NOT_CAPTURED")
    );
    assert_eq!((told.lines, told.amount), (vec![], None), "nothing came back");
}

#[tokio::test]
async fn a_returns_key_is_its_own_methods_and_bound_to_one_payload() {
    let world = World::new().await;
    world.place(waiting("k")).await.expect("an order's key");
    let first = give(&world, ask("k")).await.expect("another method's key");
    let again = give(&world, ask("k")).await.expect("the same");
    assert!(!first.repeated && again.repeated);
    assert_eq!(first.details, again.details);
    let whole = ReturnOrderRequest { lines: Vec::new(), ..ask("k") };
    assert_eq!(give(&world, whole).await.expect_err("other lines").code(), Code::AlreadyExists);
    assert_eq!(world.written(), (2, 2));
}

#[tokio::test]
async fn a_return_that_is_not_valid_is_told_every_field_and_begins_nothing() {
    let world = World::new().await;
    let line = |quantity| Line { sku: "teapot".to_owned(), quantity };
    let bad = ReturnOrderRequest {
        idempotency_key: String::new(),
        order_id: "'; DROP TABLE".to_owned(),
        lines: vec![line(0), line(i64::MAX)],
        reason: "nul\0".to_owned(),
        wait: true,
    };
    let status = give(&world, bad).await.expect_err("nothing is right");
    assert_eq!(status.code(), Code::InvalidArgument);
    let expected = [
        "idempotency_key",
        "lines[0].quantity",
        "lines[1].sku",
        "lines[1].quantity",
        "reason",
        "order_id",
    ];
    assert_eq!(fields(&status), expected);
    let many = (0..101).map(|n| Line { sku: format!("sku-{n}"), quantity: 1 }).collect();
    let status = give(&world, ReturnOrderRequest { lines: many, ..ask("k") }).await;
    assert_eq!(fields(&status.expect_err("too many")), ["lines"]);
    assert_eq!(world.written(), (0, 0));
}

#[tokio::test]
async fn an_order_is_no_return_and_a_return_is_no_order() {
    let world = World::new().await;
    let order = world.place(waiting("k")).await.expect("accepted").order_id;
    assert_eq!(read(&world, &order).await.expect_err("an order").code(), Code::NotFound);
    assert_eq!(read(&world, ORDER).await.expect_err("nothing").code(), Code::NotFound);
    let told = give(&world, ask("r")).await.expect("accepted").details.expect("details");
    let cancel = saga_proto::shop::v1::CancelOrderRequest {
        order_id: told.return_id,
        reason: String::new(),
    };
    let refused = world.orders().cancel_order(cancel).await.expect_err("a return");
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test]
async fn returns_are_accepted_within_the_same_bound_as_orders() {
    let world = World::with(|s| s.desk.max_in_flight = 0).await;
    let refused = give(&world, ask("k")).await.expect_err("too much to do");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(says_when(&refused));
    let world = World::with(|s| s.desk.wait_limit = Duration::from_millis(50)).await;
    world.broker.answer("refund-payment/action", Answer::Hold);
    let told = give(&world, ask("k")).await.expect("no error").details.expect("details");
    assert_eq!(told.status(), ReturnStatus::Pending);
}
