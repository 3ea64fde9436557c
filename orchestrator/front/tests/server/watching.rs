//! Watching orders.

use std::time::Duration;

use saga_proto::{
    order::v1::OrderStatus,
    shop::v1::{OrderUpdate, WatchOrderRequest},
};
use tonic::{Code, Status, Streaming};

use crate::world::{Answer, PATIENCE, World, reason, waiting};

async fn watch(world: &World, id: &str) -> Result<Streaming<OrderUpdate>, Status> {
    let request = WatchOrderRequest { order_id: id.to_owned() };
    world.orders().watch_order(request).await.map(tonic::Response::into_inner)
}

async fn all(mut updates: Streaming<OrderUpdate>) -> Vec<OrderUpdate> {
    let mut seen = Vec::new();
    let read = async {
        while let Some(update) = updates.message().await.expect("sound") {
            seen.push(update);
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("the stream ends");
    seen
}

fn check(updates: &[OrderUpdate], id: &str) {
    for (index, update) in updates.iter().enumerate() {
        assert_eq!(update.version, index as i64 + 1, "no gaps");
        assert_eq!(update.order_id, id);
        assert!(!update.what.is_empty() && update.at_micros > 0);
        assert_eq!(update.ended, index + 1 == updates.len(), "only the last one");
        if !update.ended {
            assert_eq!(update.status(), OrderStatus::Pending);
        }
    }
}

#[tokio::test]
async fn who_watches_from_the_start_sees_everything_until_the_end() {
    let world = World::new().await;
    world.broker.answer("create-order/action", Answer::Hold);
    let id = world.placed("k").await;
    let updates = watch(&world, &id).await.expect("known");
    world.broker.release("create-order/action", Answer::Done);
    let updates = all(updates).await;
    check(&updates, &id);
    let steps: Vec<&str> = updates.iter().map(|update| update.step.as_str()).collect();
    let side_by_side = &steps[5..];
    assert_eq!(
        steps[..5],
        ["", "create-order", "reserve-stock", "authorise-payment", "capture-payment"]
    );
    assert!(side_by_side.contains(&"commit-stock") && side_by_side.contains(&"confirm-order"));
    assert_eq!(updates.last().map(OrderUpdate::status), Some(OrderStatus::Confirmed));
}

#[tokio::test]
async fn who_watches_after_the_end_sees_the_same_and_why() {
    let world = World::new().await;
    world.broker.answer("reserve-stock/action", Answer::Refuse("OUT_OF_STOCK"));
    let id = world.place(waiting("k")).await.expect("accepted").order_id;
    let updates = all(watch(&world, &id).await.expect("known")).await;
    check(&updates, &id);
    let last = updates.last().expect("at least one");
    assert_eq!(last.status(), OrderStatus::Rejected);
    assert_eq!(last.reason_code, "OUT_OF_STOCK");
    let refused: Vec<_> = updates.iter().map(|u| u.what.as_str()).collect();
    assert!(
        refused.contains(&"reserve-stock was refused: the test wants it so (OUT_OF_STOCK)"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn watching_works_when_another_engine_decides_and_every_hint_is_lost() {
    let world = World::decided_elsewhere().await;
    world.broker.answer("capture-payment/action", Answer::Hold);
    let id = world.placed("k").await;
    let updates = watch(&world, &id).await.expect("known");
    world.broker.release("capture-payment/action", Answer::Done);
    let updates = all(updates).await;
    check(&updates, &id);
    assert_eq!(updates.last().map(OrderUpdate::status), Some(OrderStatus::Confirmed));
}

#[tokio::test]
async fn many_watch_one_order_and_each_sees_everything() {
    let world = World::new().await;
    world.broker.answer("capture-payment/action", Answer::Hold);
    let id = world.placed("k").await;
    let mut watchers = Vec::new();
    for _ in 0..20 {
        watchers.push(tokio::spawn(all(watch(&world, &id).await.expect("known"))));
    }
    world.broker.release("capture-payment/action", Answer::Done);
    for watcher in watchers {
        let updates = watcher.await.expect("no panic");
        check(&updates, &id);
        assert_eq!(updates.len(), 7);
    }
}

#[tokio::test]
async fn an_unknown_order_cannot_be_watched() {
    let world = World::new().await;
    let status = watch(&world, "01890a5d-ac96-774b-bcce-b302099a8057").await.map(drop);
    assert_eq!(status.expect_err("unknown").code(), Code::NotFound);
}

#[tokio::test]
async fn a_watcher_that_goes_away_gives_its_place_back() {
    let world = World::with(|s| s.desk.max_waiting = 1).await;
    world.broker.answer("capture-payment/action", Answer::Hold);
    let id = world.placed("k").await;
    let mut first = watch(&world, &id).await.expect("there is one place");
    first.message().await.expect("sound").expect("the first update");
    let status = watch(&world, &id).await.map(drop).expect_err("there is no second place");
    assert_eq!(status.code(), Code::ResourceExhausted);
    drop(first);
    let again = async {
        while watch(&world, &id).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("the place is free again");
}

#[tokio::test]
async fn stopping_tells_those_who_watch_and_those_who_wait() {
    let world = World::new().await;
    world.broker.answer("capture-payment/action", Answer::Hold);
    let id = world.placed("k").await;
    world.until("the pivot is open", |w| w.broker.seen("capture-payment/action")).await;
    let mut updates = watch(&world, &id).await.expect("known");
    updates.message().await.expect("sound").expect("the first update");
    let mut orders = world.orders();
    let waits = tokio::spawn(async move { orders.place_order(waiting("k")).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.shutdown.cancel();
    let last = loop {
        match updates.message().await {
            Ok(Some(update)) => assert!(!update.ended),
            Ok(None) => panic!("it must say why"),
            Err(status) => break status,
        }
    };
    assert_eq!((last.code(), reason(&last).as_str()), (Code::Unavailable, "STOPPING"));
    let placed = waits.await.expect("no panic").expect("answered").into_inner();
    assert_eq!(placed.status(), OrderStatus::Pending);
    let World { serving, .. } = world;
    tokio::time::timeout(PATIENCE, serving).await.expect("in time").expect("no panic");
}
