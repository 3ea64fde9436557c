//! Placing orders.

use std::time::{Duration, Instant};

use saga_engine::IdempotencyKey;
use saga_front::Settings;
use saga_proto::{order::v1::OrderStatus, shop::v1::PlaceOrderRequest};
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::world::{Answer, World, order, reason, says_when, waiting};

#[tokio::test]
async fn an_order_is_accepted_at_once_and_confirmed_in_the_end() {
    let world = World::new().await;
    world.broker.answer("create-order/action", Answer::Hold);
    let placed = world.place(order("k")).await.expect("accepted");
    assert_eq!(placed.status(), OrderStatus::Pending);
    assert!(!placed.repeated);
    assert_eq!(world.saga(&placed.order_id).caller, "anonymous");
    world.broker.release("create-order/action", Answer::Done);
    world.until_ended(&placed.order_id).await;
}

#[tokio::test]
async fn an_orders_rows_lie_in_the_partition_of_its_key() {
    let world = World::new().await;
    for key in ["a", "b", "c"] {
        let placed = world.place(order(key)).await.expect("accepted");
        let saga = world.saga(&placed.order_id);
        let expected = IdempotencyKey::partition(&saga.caller, "PlaceOrder", key);
        assert_eq!(saga.id.partition(), expected);
    }
    // Ids that exist contain their partition, so the function never changes.
    let known = IdempotencyKey::partition("anonymous", "PlaceOrder", "k");
    assert_eq!(known.number(), 685);
}

#[tokio::test]
async fn who_waits_is_told_the_outcome() {
    let world = World::new().await;
    let placed = world.place(waiting("k")).await.expect("accepted");
    assert_eq!(placed.status(), OrderStatus::Confirmed);
    assert_eq!((placed.reason_code, placed.reason), Default::default());
}

#[tokio::test]
async fn who_waits_for_an_order_that_is_refused_is_told_why() {
    let world = World::new().await;
    world.broker.answer("reserve-stock/action", Answer::Refuse("OUT_OF_STOCK"));
    let placed = world.place(waiting("k")).await.expect("accepted");
    assert_eq!(placed.status(), OrderStatus::Rejected);
    assert_eq!(placed.reason_code, "OUT_OF_STOCK");
    assert_eq!(placed.reason, "the test wants it so");
}

#[tokio::test]
async fn who_waits_beyond_the_limit_is_told_pending() {
    let world = World::with(|s| s.desk.wait_limit = Duration::from_millis(50)).await;
    world.broker.answer("capture-payment/action", Answer::Hold);
    let placed = world.place(waiting("k")).await.expect("no error");
    assert_eq!(placed.status(), OrderStatus::Pending);
}

#[tokio::test]
async fn who_waits_with_a_deadline_is_told_pending_before_it_passes() {
    let world = World::new().await;
    world.broker.answer("capture-payment/action", Answer::Hold);
    let mut request = Request::new(waiting("k"));
    request.set_timeout(Duration::from_millis(500));
    let placed = world.orders().place_order(request).await.expect("in time").into_inner();
    assert_eq!(placed.status(), OrderStatus::Pending);
}

#[tokio::test]
async fn who_waits_where_too_many_wait_is_told_pending_at_once() {
    let world = World::with(|s| s.desk.max_waiting = 0).await;
    world.broker.answer("capture-payment/action", Answer::Hold);
    let placed = world.place(waiting("k")).await.expect("accepted");
    assert_eq!(placed.status(), OrderStatus::Pending);
}

#[tokio::test]
async fn waiting_works_when_another_engine_decides_and_every_hint_is_lost() {
    let world = World::decided_elsewhere().await;
    let began = Instant::now();
    let placed = world.place(waiting("k")).await.expect("accepted");
    assert_eq!(placed.status(), OrderStatus::Confirmed);
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_same_key_gives_the_same_order_whatever_became_of_it() {
    let world = World::new().await;
    world.broker.answer("reserve-stock/action", Answer::Refuse("OUT_OF_STOCK"));
    let first = world.place(waiting("k")).await.expect("accepted");
    for again in [order("k"), waiting("k")] {
        let again = world.place(again).await.expect("known");
        assert!(again.repeated);
        assert_eq!(again.order_id, first.order_id);
        assert_eq!(again.status(), OrderStatus::Rejected);
        assert_eq!(again.reason_code, "OUT_OF_STOCK");
    }
    assert_eq!(world.written(), (1, 1));
}

#[tokio::test]
async fn a_repetition_can_wait_for_an_order_that_is_in_progress() {
    let world = World::new().await;
    world.broker.answer("capture-payment/action", Answer::Hold);
    let id = world.placed("k").await;
    let (again, ()) = tokio::join!(world.place(waiting("k")), async {
        world.until("the pivot is open", |w| w.broker.seen("capture-payment/action")).await;
        world.broker.release("capture-payment/action", Answer::Done);
    });
    let again = again.expect("known");
    assert_eq!((again.order_id, again.repeated), (id, true));
    assert_eq!(OrderStatus::try_from(again.status), Ok(OrderStatus::Confirmed));
}

#[tokio::test]
async fn many_at_once_under_one_key_place_one_order() {
    let world = World::new().await;
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let mut orders = world.orders();
            tokio::spawn(async move { orders.place_order(waiting("k")).await })
        })
        .collect();
    let mut ids = Vec::new();
    for call in calls {
        let placed = call.await.expect("no panic").expect("accepted").into_inner();
        assert_eq!(placed.status(), OrderStatus::Confirmed);
        ids.push((placed.order_id, placed.repeated));
    }
    assert!(ids.iter().all(|(id, _)| *id == ids[0].0));
    assert_eq!(ids.iter().filter(|(_, repeated)| !repeated).count(), 1);
    assert_eq!(world.written(), (1, 1));
}

#[tokio::test]
async fn a_key_that_was_used_with_another_body_is_refused_by_name() {
    let world = World::new().await;
    world.placed("k").await;
    let other = PlaceOrderRequest { customer: "Eve".to_owned(), ..order("k") };
    let status = world.place(other).await.expect_err("another payload");
    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(reason(&status), "KEY_REUSED");
    let resource = status.get_details_resource_info().expect("named");
    assert_eq!(resource.resource_name, "k");
    assert_eq!(world.written(), (1, 1));
}

#[tokio::test]
async fn a_deadline_of_a_millisecond_loses_no_order() {
    let world = World::new().await;
    let mut request = Request::new(waiting("k"));
    request.set_timeout(Duration::from_millis(1));
    let _ = world.orders().place_order(request).await;
    let again = world.place(waiting("k")).await.expect("accepted, then or now");
    assert_eq!(again.status(), OrderStatus::Confirmed);
    assert_eq!(world.written(), (1, 1));
}

#[tokio::test]
async fn a_client_that_goes_away_in_mid_call_cancels_nothing() {
    let world = World::new().await;
    world.broker.answer("capture-payment/action", Answer::Hold);
    let mut orders = world.orders();
    let call = tokio::spawn(async move { orders.place_order(waiting("k")).await });
    world.until("the pivot is open", |w| w.broker.seen("capture-payment/action")).await;
    call.abort();
    assert!(call.await.expect_err("aborted").is_cancelled());
    world.broker.release("capture-payment/action", Answer::Done);
    let again = world.place(waiting("k")).await.expect("known");
    assert!(again.repeated);
    assert_eq!(again.status(), OrderStatus::Confirmed);
}

#[tokio::test]
async fn beyond_the_bound_in_flight_orders_are_refused_until_some_have_ended() {
    let world = World::with(|s| s.desk.max_in_flight = 1).await;
    world.broker.answer("capture-payment/action", Answer::Hold);
    let first = world.placed("first").await;
    // It is refused at once, before the engine counts the sagas in the store again.
    let status = world.place(order("second")).await.expect_err("one is in flight");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(says_when(&status));
    let again = world.place(order("first")).await.expect("its key is known");
    assert!(again.repeated);
    let other = PlaceOrderRequest { customer: "another".into(), ..order("first") };
    let status = world.place(other).await.expect_err("the key is another order's");
    assert_eq!(status.code(), Code::AlreadyExists);
    world.broker.release("capture-payment/action", Answer::Done);
    world.until_ended(&first).await;
    // The test may see the end in the store a moment before the engine has counted it, so it tries
    // more than once. The engine must not wait until it counts the sagas in the store again.
    let later = async {
        while world.place(order("later")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_millis(500), later).await.expect("there is room again");
}

#[tokio::test]
async fn while_payments_have_been_away_for_as_long_as_an_order_waits_orders_are_refused() {
    let world = World::new().await;
    let known = world.placed("known").await;
    let away = async |breaker: &str, for_seconds: i64, retry_after_millis: i64| {
        let asked = {
            let mut state = world.services.state();
            state.availability.breaker = breaker.to_owned();
            state.availability.away_millis = for_seconds * 1_000;
            state.availability.retry_after_millis = retry_after_millis;
            state.asked
        };
        world.until("it was asked", |w| w.services.state().asked >= asked + 2).await;
    };
    let deadline = Settings::default().order_deadline.as_secs().cast_signed();
    away("open", deadline - 10, 9_000).await;
    world.placed("before that").await;
    let written = world.written();
    away("open", deadline, 9_000).await;
    let status = world.place(order("k")).await.expect_err("payments are away");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "PAYMENT_AWAY"));
    assert!(says_when(&status));
    assert_eq!(world.written(), written);
    let again = world.place(order("known")).await.expect("its key is known");
    assert!(again.repeated);
    assert_eq!(again.order_id, known);

    // While the breaker is half-open, one call tries the provider. Payments count as unavailable
    // until that call succeeds.
    away("half-open", deadline + 1, 0).await;
    world.place(order("k")).await.expect_err("payments are still away");
    away("closed", 0, 0).await;
    world.placed("k").await;
}

#[tokio::test]
async fn orders_are_accepted_while_every_service_is_away() {
    let world = World::alone().await;
    world.placed("k").await;
}

#[tokio::test]
async fn while_the_store_is_away_the_answer_says_that_the_outcome_is_unknown() {
    let world = World::new().await;
    world.store.be_away(true);
    let status = world.place(order("k")).await.expect_err("the store is away");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "UNKNOWN_OUTCOME"));
    assert!(says_when(&status));
    world.store.be_away(false);
    assert!(!world.place(order("k")).await.expect("accepted").repeated);
}

#[tokio::test]
async fn a_valid_trace_context_goes_with_the_saga_and_another_does_not() {
    let world = World::new().await;
    let sound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for (key, sent, kept) in [("a", sound, Some(sound)), ("b", "00-'; DROP TABLE sagas;--", None)] {
        let mut request = Request::new(order(key));
        request.metadata_mut().insert("traceparent", sent.parse().expect("ASCII"));
        let placed = world.orders().place_order(request).await.expect("accepted").into_inner();
        assert_eq!(world.saga(&placed.order_id).traceparent.as_deref(), kept);
    }
}
