//! Who may call what: the table of methods and roles, from outside.

use saga_front::{STOCK, STOCK_PRICE};
use saga_identity::{ACT, APPROVE, AUDITOR, CLIENT, Line, Role, Roles, VIEW, Who};
use saga_operations::v1::quarantine_client::QuarantineClient;
use saga_operations::v1::{
    InterveneAllRequest, InterveneRequest, Remedy, SettleQuarantinedRequest,
};
use saga_proto::{Money, inventory::v1::ReceiveStockRequest};
use tonic::{Code, Request, Status, codegen::http::uri::PathAndQuery};
use tonic_types::StatusExt as _;

use crate::world::{World, order, reason};

const ROLES: [Role; 7] = [CLIENT, VIEW, ACT, APPROVE, AUDITOR, STOCK, STOCK_PRICE];

/// Starts a world in which every caller has these roles.
async fn world(roles: &[Role]) -> World {
    let roles: Roles = roles.iter().copied().collect();
    World::with(|settings| settings.desk.anonymous.here = roles).await
}

/// Calls a method by its path, with an empty message.
async fn call(world: &World, path: &str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(world.channel.clone());
    client.ready().await.expect("it serves");
    let path: PathAndQuery = path.parse().expect("a path");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client.server_streaming(Request::new(()), path, codec).await.map(drop)
}

/// Returns the roles that a refusal asks for, or `None` for another answer.
fn missing(answer: &Result<(), Status>) -> Option<String> {
    let status = answer.as_ref().err().filter(|s| s.code() == Code::PermissionDenied)?;
    let mut info = status.get_details_error_info().expect("a reason");
    assert_eq!(info.reason, "ROLE_MISSING");
    info.metadata.remove("needed")
}

#[tokio::test]
async fn every_method_is_refused_to_every_role_that_its_line_does_not_name() {
    let lines = || saga_desk::LINES.iter().chain(saga_front::LINES);
    assert!(lines().count() >= 16);
    for roles in ROLES.map(|role| vec![role]).into_iter().chain([vec![]]) {
        let world = world(&roles).await;
        let has: Roles = roles.iter().copied().collect();
        for Line { method, who } in lines() {
            let missing = missing(&call(&world, &format!("/{method}")).await);
            let needed = match who {
                Who::OneOf(needed) => {
                    needed.iter().map(|role| role.0).collect::<Vec<_>>().join(" ")
                }
                Who::Anybody | Who::AnyPrincipal => {
                    assert_eq!(missing, None, "{roles:?} {method}");
                    continue;
                }
            };
            if who.admits(&has).is_ok() {
                assert_ne!(missing, Some(needed), "{roles:?} {method}");
            } else {
                assert_eq!(missing, Some(needed), "{roles:?} {method}");
            }
        }
        assert_eq!(world.written(), (0, 0));
    }
}

#[tokio::test]
async fn a_path_that_is_no_method_reaches_no_service() {
    let world = World::new().await;
    for path in [
        "/saga.shop.v1.Orders/placeOrder",
        "/saga.shop.v1.Orders/PlaceOrder/",
        "/saga.shop.v1.Orders/Place%4frder",
        "/saga.shop.v1.Orders/",
        "/saga.shop.v1.orders/PlaceOrder",
        "//saga.shop.v1.Orders/PlaceOrder",
        "/x/../saga.shop.v1.Orders/PlaceOrder",
        "/grpc.health.v1.Health/check",
        // In the contract, but only inside the system.
        "/saga.order.v1.OrderReads/ReadOrders",
        "/saga.inventory.v1.Inventory/ReceiveStock",
    ] {
        let status = call(&world, path).await.expect_err(path);
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
    assert_eq!(world.written(), (0, 0));
}

#[tokio::test]
async fn health_is_told_to_callers_without_any_role() {
    let world = world(&[]).await;
    call(&world, "/grpc.health.v1.Health/Check").await.expect("it is told");
}

#[tokio::test]
async fn who_views_may_only_try_what_an_intervention_would_do() {
    let world = world(&[CLIENT, VIEW]).await;
    let id = world.placed("k").await;
    world.until_ended(&id).await;
    let before = world.saga(&id).version;
    let intervene = |dry_run| InterveneRequest {
        saga_id: id.clone(),
        remedy: Remedy::Pause.into(),
        reason: "the test wants it so".to_owned(),
        expected_version: 1,
        dry_run,
        ..Default::default()
    };
    let refused = world.sagas().intervene(intervene(false)).await.map(drop);
    assert_eq!(missing(&refused).as_deref(), Some("act"));
    let tried = world.sagas().intervene(intervene(true)).await.map(drop);
    assert_eq!(missing(&tried), None);
    assert_eq!(reason(&tried.expect_err("it has ended")), "SAGA_MOVED_ON");
    let all = |dry_run| InterveneAllRequest {
        remedy: Remedy::Retry.into(),
        reason: "the test wants it so".to_owned(),
        limit: 1,
        dry_run,
        ..Default::default()
    };
    let refused = world.sagas().intervene_all(all(false)).await.map(drop);
    assert_eq!(missing(&refused).as_deref(), Some("act"));
    world.sagas().intervene_all(all(true)).await.expect("a dry run");
    let settle = SettleQuarantinedRequest { dry_run: true, ..Default::default() };
    let mut quarantine = QuarantineClient::new(world.channel.clone());
    let refused = quarantine.settle_quarantined(settle).await.map(drop);
    assert_eq!(missing(&refused).as_deref(), Some("act"));
    assert_eq!(world.saga(&id).version, before);
}

#[tokio::test]
async fn a_price_needs_a_role_of_its_own() {
    let receipt = ReceiveStockRequest {
        sku: "teapot".to_owned(),
        quantity: 1,
        idempotency_key: "k".to_owned(),
        name: String::new(),
        price: None,
    };
    let priced = ReceiveStockRequest { price: Some(Money::new(1, "EUR")), ..receipt.clone() };
    let named = ReceiveStockRequest { name: "Teapot".to_owned(), ..receipt.clone() };
    let clients = world(&[CLIENT]).await;
    let refused = clients.catalogue().restock(receipt.clone()).await.map(drop);
    assert_eq!(missing(&refused).as_deref(), Some("stock"));
    let stock = world(&[STOCK]).await;
    for changed in [&priced, &named] {
        let refused = stock.catalogue().restock(changed.clone()).await.map(drop);
        assert_eq!(missing(&refused).as_deref(), Some("stock.price"));
    }
    // These reach the service, which answers as it likes.
    let answer = stock.catalogue().restock(receipt).await.map(drop);
    assert_eq!(missing(&answer), None);
    let both = world(&[STOCK, STOCK_PRICE]).await;
    assert_eq!(missing(&both.catalogue().restock(priced).await.map(drop)), None);
}

#[tokio::test]
async fn callers_elsewhere_are_clients_by_default_and_see_no_saga() {
    let world = World::with(|settings| {
        settings.desk.anonymous.here = settings.desk.anonymous.elsewhere.clone();
    })
    .await;
    let id = world.place(order("k")).await.expect("accepted").order_id;
    let get = saga_operations::v1::GetSagaRequest { saga_id: id };
    let refused = world.sagas().get_saga(get).await.map(drop);
    assert_eq!(missing(&refused).as_deref(), Some("view auditor"));
}
