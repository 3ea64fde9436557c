//! Interventions of operators.

use saga_operations::v1::{
    GetQuarantinedRequest, GetSagaRequest, GetSagaResponse, InterveneAllRequest,
    InterveneAllUpdate, InterveneRequest, InterveneResponse, ListQuarantinedRequest,
    ListSagasRequest, Remedy, Resolution, SagaFilter, SagaState, SettleQuarantinedRequest,
    quarantine_client::QuarantineClient, sagas_client::SagasClient,
};
use saga_proto::shop::v1::{ListOrdersRequest, orders_client::OrdersClient};
use tonic::{Code, Request, Status, service::Interceptor};

use crate::world::{Answer, World, fields, reason};

/// Places an order whose stock cannot be committed after the payment, so that its saga is stuck.
async fn stuck(world: &World, key: &str) -> String {
    world.broker.answer("commit-stock/action", Answer::Refuse("NO_RESERVATION"));
    let id = world.placed(key).await;
    let confirmed = |w: &World| {
        let saga = w.saga(&id);
        saga.phase.name() == "stuck" && saga.steps[5] == saga_core::StepState::Done
    };
    world.until("it is stuck", confirmed).await;
    id
}

async fn seen(world: &World, id: &str) -> GetSagaResponse {
    let request = GetSagaRequest { saga_id: id.to_owned() };
    world.sagas().get_saga(request).await.expect("known").into_inner()
}

fn asked(world: &World, id: &str, remedy: Remedy) -> InterveneRequest {
    InterveneRequest {
        saga_id: id.to_owned(),
        remedy: remedy.into(),
        reason: "the test wants it so".to_owned(),
        expected_version: i64::try_from(world.saga(id).version).expect("small"),
        ..Default::default()
    }
}

async fn ask(world: &World, request: InterveneRequest) -> Result<InterveneResponse, Status> {
    world.sagas().intervene(request).await.map(tonic::Response::into_inner)
}

async fn all(world: &World, request: InterveneAllRequest) -> Vec<InterveneAllUpdate> {
    let mut stream = world.sagas().intervene_all(request).await.expect("taken").into_inner();
    let mut updates = Vec::new();
    while let Some(update) = stream.message().await.expect("an update") {
        updates.push(update);
    }
    updates
}

#[tokio::test]
async fn a_stuck_saga_is_found_tried_dry_retried_and_its_history_says_who_and_why() {
    let world = World::new().await;
    let id = stuck(&world, "k").await;
    let filter = SagaFilter { needs_me: true, ..Default::default() };
    let request = ListSagasRequest { filter: Some(filter), ..Default::default() };
    let found = world.sagas().list_sagas(request).await.expect("a page").into_inner().sagas;
    assert_eq!((found.len(), found[0].stuck_at.as_str()), (1, "commit-stock/action"));
    assert!(found[0].stuck_since_micros >= found[0].started_at_micros);
    assert_eq!(found[0].remedies, ["retry", "skip", "pause", "resolve commit-stock action done"]);

    let version = world.saga(&id).version;
    world.broker.answer("commit-stock/action", Answer::Done);
    let dry = InterveneRequest { dry_run: true, ..asked(&world, &id, Remedy::Retry) };
    let would = ask(&world, dry).await.expect("possible");
    let saga = would.saga.expect("set");
    assert_eq!((saga.state(), saga.version as u64), (SagaState::Running, version + 1));
    assert_eq!((would.sent, would.dry_run), (vec!["commit-stock/action #1".to_owned()], true));
    assert_eq!(world.saga(&id).version, version, "a dry run has written");

    let retry = asked(&world, &id, Remedy::Retry);
    let did = ask(&world, retry.clone()).await.expect("possible");
    assert!(!did.repeated && !did.dry_run);
    assert_eq!(world.until_ended(&id).await.phase.name(), "completed");
    let again = ask(&world, retry).await.expect("the same");
    assert!(again.repeated, "done twice");
    let history = seen(&world, &id).await.history;
    let told: Vec<&str> = history.iter().map(|t| t.what.as_str()).collect();
    assert!(told.contains(&"anonymous had it retried: the test wants it so"), "{told:?}");
    assert_eq!(told.iter().filter(|what| what.contains("retried")).count(), 1);
}

#[tokio::test]
async fn a_step_is_skipped_or_resolved_and_the_saga_ends() {
    let world = World::new().await;
    let id = stuck(&world, "skipped").await;
    ask(&world, asked(&world, &id, Remedy::Skip)).await.expect("possible");
    assert_eq!(world.until_ended(&id).await.phase.name(), "completed");

    let id = stuck(&world, "resolved").await;
    let resolution =
        Resolution { step: "commit-stock".to_owned(), done: true, ..Default::default() };
    let resolve = InterveneRequest {
        resolution: Some(resolution.clone()),
        ..asked(&world, &id, Remedy::Resolve)
    };
    let with_reply = Resolution { reply: "{}".to_owned(), ..resolution };
    let wrong = InterveneRequest { resolution: Some(with_reply), ..resolve.clone() };
    let status = ask(&world, wrong).await.expect_err("it keeps nothing of a reply");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "NOT_POSSIBLE")
    );
    ask(&world, resolve).await.expect("possible");
    assert_eq!(world.until_ended(&id).await.phase.name(), "completed");
}

#[tokio::test]
async fn an_order_is_held_and_then_undone_and_its_client_is_not_told_by_whom() {
    let world = World::new().await;
    world.broker.answer("reserve-stock/action", Answer::Hold);
    let id = world.placed("k").await;
    world.until("it is asked for", |w| w.broker.seen("reserve-stock/action")).await;
    let paused = ask(&world, asked(&world, &id, Remedy::Pause)).await.expect("possible");
    assert!(paused.saga.expect("set").paused);
    let filter = SagaFilter { paused: true, ..Default::default() };
    let request = ListSagasRequest { filter: Some(filter), ..Default::default() };
    let held = world.sagas().list_sagas(request).await.expect("a page").into_inner().sagas;
    assert_eq!(held.len(), 1);
    let status = ask(&world, asked(&world, &id, Remedy::Retry)).await.expect_err("paused");
    assert_eq!(reason(&status), "NOT_POSSIBLE");
    ask(&world, asked(&world, &id, Remedy::Resume)).await.expect("possible");
    ask(&world, asked(&world, &id, Remedy::Compensate)).await.expect("possible");
    let ended = world.until_ended(&id).await;
    assert_eq!(ended.phase.name(), "compensated");
    let order = saga_proto::shop::v1::GetOrderRequest { order_id: id.clone() };
    let order = world.orders().get_order(order).await.expect("known").into_inner();
    assert_eq!(order.reason_code, "WITHDRAWN");
    assert!(!order.reason.contains("the test wants it so"), "{}", order.reason);
}

#[tokio::test]
async fn nothing_is_done_at_another_version_or_where_it_is_not_possible() {
    let world = World::new().await;
    let id = stuck(&world, "k").await;
    let before = world.saga(&id).version;
    let request = asked(&world, &id, Remedy::Skip);
    let stale = InterveneRequest { expected_version: request.expected_version - 1, ..request };
    let status = ask(&world, stale).await.expect_err("it has moved on");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "SAGA_MOVED_ON")
    );
    assert!(status.message().contains(&format!("version {before}")), "{}", status.message());
    let status = ask(&world, asked(&world, &id, Remedy::Compensate)).await.expect_err("paid");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "NOT_POSSIBLE")
    );
    assert!(status.message().contains("only goes forward"), "{}", status.message());
    assert_eq!(world.saga(&id).version, before);
}

#[tokio::test]
async fn what_is_missing_or_wrong_in_an_intervention_is_named() {
    let world = World::new().await;
    let id = stuck(&world, "k").await;
    let sound = asked(&world, &id, Remedy::Retry);
    let wrong = [
        ("reason", InterveneRequest { reason: " ".to_owned(), ..sound.clone() }),
        ("reason", InterveneRequest { reason: "x".repeat(501), ..sound.clone() }),
        ("reason", InterveneRequest { reason: "a\0b".to_owned(), ..sound.clone() }),
        ("expected_version", InterveneRequest { expected_version: 0, ..sound.clone() }),
        ("expected_version", InterveneRequest { expected_version: -1, ..sound.clone() }),
        ("remedy", InterveneRequest { remedy: 0, ..sound.clone() }),
        ("remedy", InterveneRequest { remedy: 99, ..sound.clone() }),
        ("saga_id", InterveneRequest { saga_id: "x".to_owned(), ..sound.clone() }),
        (
            "resolution",
            InterveneRequest { resolution: Some(Resolution::default()), ..sound.clone() },
        ),
        ("resolution", InterveneRequest { remedy: Remedy::Resolve.into(), ..sound.clone() }),
        (
            "resolution.reply",
            InterveneRequest {
                remedy: Remedy::Resolve.into(),
                resolution: Some(Resolution { reply: "x".repeat(65_537), ..Default::default() }),
                ..sound.clone()
            },
        ),
    ];
    let before = world.saga(&id).version;
    for (field, request) in wrong {
        let status = ask(&world, request).await.expect_err(field);
        assert_eq!(
            (status.code(), fields(&status)),
            (Code::InvalidArgument, vec![field.to_owned()])
        );
    }
    let saga_id = "01890a5d-ac96-774b-bcce-b302099a8057".to_owned();
    let unknown = InterveneRequest { saga_id, ..sound };
    assert_eq!(ask(&world, unknown).await.expect_err("unknown").code(), Code::NotFound);
    assert_eq!(world.saga(&id).version, before);

    let bulk = InterveneAllRequest {
        remedy: Remedy::Retry.into(),
        reason: "r".to_owned(),
        limit: 1,
        ..Default::default()
    };
    for (field, request) in [
        ("limit", InterveneAllRequest { limit: 0, ..bulk.clone() }),
        ("limit", InterveneAllRequest { limit: 10_001, ..bulk.clone() }),
        ("remedy", InterveneAllRequest { remedy: Remedy::Skip.into(), ..bulk.clone() }),
        ("reason", InterveneAllRequest { reason: String::new(), ..bulk.clone() }),
        ("state", InterveneAllRequest { state: 99, ..bulk }),
    ] {
        let status = world.sagas().intervene_all(request).await.expect_err(field);
        assert_eq!(
            (status.code(), fields(&status)),
            (Code::InvalidArgument, vec![field.to_owned()])
        );
    }
}

#[tokio::test]
async fn all_that_a_filter_picks_are_retried_and_no_more_than_asked_for() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(stuck(&world, &format!("k{n}")).await);
    }
    world.broker.answer("commit-stock/action", Answer::Done);
    let filter = SagaFilter { step: "commit-stock".to_owned(), ..Default::default() };
    let request = InterveneAllRequest {
        remedy: Remedy::Retry.into(),
        reason: "it is mended".to_owned(),
        state: SagaState::Stuck.into(),
        filter: Some(filter),
        limit: 3,
        ..Default::default()
    };
    let dry = InterveneAllRequest { dry_run: true, ..request.clone() };
    let would = all(&world, dry).await;
    assert_eq!(would.len(), 3);
    assert!(would.iter().all(|u| u.applied && u.sent == ["commit-stock/action #1"]), "{would:?}");
    let elsewhere = SagaFilter { step: "create-order".to_owned(), ..Default::default() };
    let other = InterveneAllRequest { filter: Some(elsewhere), ..request.clone() };
    assert!(all(&world, other).await.is_empty());
    assert_eq!(all(&world, request.clone()).await.len(), 3);
    let compensate = InterveneAllRequest { remedy: Remedy::Compensate.into(), ..request.clone() };
    let left = all(&world, compensate).await;
    assert!(left.iter().all(|u| !u.applied && u.why_not.contains("only goes forward")), "{left:?}");
    assert_eq!(all(&world, request.clone()).await.len(), 2);
    let completed = |w: &World| ids.iter().all(|id| w.saga(id).phase.name() == "completed");
    world.until("all have ended", completed).await;
    assert!(all(&world, request).await.is_empty());
}

#[tokio::test]
async fn an_operator_behind_a_proxy_is_refused_and_a_client_there_is_not() {
    let world = World::new().await;
    let forwarded = || Passed("x-forwarded-for", "127.0.0.1");
    let mut sagas = SagasClient::with_interceptor(world.channel.clone(), forwarded());
    let mut quarantine = QuarantineClient::with_interceptor(world.channel.clone(), forwarded());
    let refusals = [
        sagas.intervene(InterveneRequest::default()).await.map(drop),
        sagas.intervene_all(InterveneAllRequest::default()).await.map(drop),
        quarantine.list_quarantined(ListQuarantinedRequest::default()).await.map(drop),
        quarantine.get_quarantined(GetQuarantinedRequest::default()).await.map(drop),
        quarantine.settle_quarantined(SettleQuarantinedRequest::default()).await.map(drop),
    ];
    for refused in refusals {
        let status = refused.expect_err("somebody else's call");
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::PermissionDenied, "ROLE_MISSING".into())
        );
    }
    let mut orders = OrdersClient::with_interceptor(world.channel.clone(), forwarded());
    orders.list_orders(ListOrdersRequest::default()).await.expect("clients may come that way");
}

/// Adds a header to each call, as a proxy does.
struct Passed(&'static str, &'static str);

impl Interceptor for Passed {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(self.0, self.1.parse().expect("ASCII"));
        Ok(request)
    }
}
