//! Orders end to end, without faults.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use saga_proto::{
    order::v1::OrderStatus,
    shop::v1::{
        CancelOrderRequest, GetOrderRequest, PlaceOrderRequest, WatchOrderRequest,
        orders_client::OrdersClient,
    },
};
use saga_test_support::shopper::{self, mixed_card, waiting};
use tonic::Code;

use crate::{
    audit::Audit,
    load::Load,
    system::{ONE_OF_EACH, System, TWO_ORCHESTRATORS, with_system},
};

/// The time within which every saga must end.
const REST: Duration = Duration::from_secs(120);

/// The number of the one order whose card meets a provider that is down for a while. Several such
/// orders at the end of a load would open the circuit breaker, and some orders would rightly end
/// as UNAVAILABLE.
pub(crate) const DOWN_FOR_A_WHILE: usize = 37;

/// Returns an order's payment token.
pub(crate) fn mixed_token(n: usize) -> &'static str {
    if n == DOWN_FOR_A_WHILE { "tok_down" } else { mixed_card(n) }
}

pub(crate) fn mixed_sku(n: usize) -> &'static str {
    match n % 40 {
        11 => "rare",
        31 => "unknown",
        n if n % 2 == 0 => "teapot",
        _ => "cup",
    }
}

fn order(key: &str, sku: &str, token: &str) -> PlaceOrderRequest {
    waiting(shopper::order(key, sku, 2, token))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_orders_end_as_they_must() -> anyhow::Result<()> {
    with_system(ONE_OF_EACH, &[], thousand).await
}

async fn thousand(system: &System) -> anyhow::Result<()> {
    let consumer = crate::python::EventConsumer::start(system)?;
    system.stock("teapot", 100_000).await?;
    system.stock("cup", 100_000).await?;
    system.stock("rare", 1).await?;
    take_the_only_rare_one(system).await?;
    let load = Load {
        orders: 1_000,
        clients: 64,
        name: "thousand".to_owned(),
        token: mixed_token,
        sku: mixed_sku,
        pace: Duration::ZERO,
    };
    let log = load.run(vec![system.channel("orchestrator-1")?]).await?;
    let audit = Audit::open(system).await?;
    audit.wait_until_quiet(REST).await?;
    let mut all = log.clone();
    all.push(crate::load::Logged {
        key: "the-only-one".into(),
        order_id: rare_order(system).await?,
        token: "tok_approved".into(),
        sku: "taken".into(),
    });
    audit.at_rest(system, &all).await?;
    let compensated = audit.compensations_ran_in_reverse().await?;
    anyhow::ensure!(compensated >= 100, "only {compensated} sagas were compensated");
    consumer.every_order_is_complete(&all).await
}

/// Buys the only rare item, so that it is out of stock for all others.
async fn take_the_only_rare_one(system: &System) -> anyhow::Result<()> {
    let mut request = order("the-only-one", "rare", "tok_approved");
    request.lines[0].quantity = 1;
    let placed = system.orders()?.place_order(request).await?.into_inner();
    anyhow::ensure!(placed.status() == OrderStatus::Confirmed, "{placed:?}");
    Ok(())
}

async fn rare_order(system: &System) -> anyhow::Result<String> {
    let mut request = order("the-only-one", "rare", "tok_approved");
    request.lines[0].quantity = 1;
    let placed = system.orders()?.place_order(request).await?.into_inner();
    anyhow::ensure!(placed.repeated, "{placed:?}");
    Ok(placed.order_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_see_one_truth_whichever_orchestrator_they_ask() -> anyhow::Result<()> {
    with_system(TWO_ORCHESTRATORS, &[], async |system| {
        system.stock("teapot", 1_000).await?;
        one_key_is_one_order_also_under_concurrency(system).await?;
        watching_tells_everything_from_the_beginning(system).await?;
        a_cancel_undoes_what_is_not_captured(system).await
    })
    .await
}

async fn one_key_is_one_order_also_under_concurrency(system: &System) -> anyhow::Result<()> {
    let channels = [system.channel("orchestrator-1")?, system.channel("orchestrator-2")?];
    let place = |n: usize, request: PlaceOrderRequest| {
        let mut client = OrdersClient::new(channels[n % 2].clone());
        async move { client.place_order(request).await }
    };
    let same = (0..20).map(|n| place(n, order("one-key", "teapot", "tok_approved")));
    let mut ids = BTreeMap::new();
    for answer in join_all(same).await {
        let answer = answer?.into_inner();
        *ids.entry(answer.order_id).or_insert(0) += i32::from(!answer.repeated);
    }
    anyhow::ensure!(ids.len() == 1 && ids.values().all(|new| *new == 1), "{ids:?}");

    let mixed = (0..20).map(|n| {
        let mut request = order("other-key", "teapot", "tok_approved");
        request.lines[0].quantity = 1 + (n % 2) as i64;
        place(n, request)
    });
    let (mut ids, mut refused) = (BTreeMap::new(), 0);
    for answer in join_all(mixed).await {
        match answer {
            Ok(answer) => *ids.entry(answer.into_inner().order_id).or_insert(0) += 1,
            Err(status) => {
                anyhow::ensure!(status.code() == Code::AlreadyExists, "{status}");
                refused += 1;
            }
        }
    }
    anyhow::ensure!(ids.len() == 1 && refused == 10, "{ids:?}, {refused} refused");
    Ok(())
}

async fn watching_tells_everything_from_the_beginning(system: &System) -> anyhow::Result<()> {
    let placed = system
        .orders()?
        .place_order(order("watched", "teapot", "tok_declined"))
        .await?
        .into_inner();
    anyhow::ensure!(placed.status() == OrderStatus::Rejected, "{placed:?}");
    anyhow::ensure!(placed.reason_code == "CARD_DECLINED", "{placed:?}");
    // The order has ended, and the other orchestrator shows it as well.
    let mut other = OrdersClient::new(system.channel("orchestrator-2")?);
    let request = WatchOrderRequest { order_id: placed.order_id.clone() };
    let mut updates = other.watch_order(request).await?.into_inner();
    let mut versions = Vec::new();
    let mut last = None;
    while let Some(update) = updates.message().await? {
        versions.push(update.version);
        last = Some(update);
    }
    let expected: Vec<i64> = (1..=versions.len() as i64).collect();
    anyhow::ensure!(versions == expected && versions.len() >= 6, "{versions:?}");
    let last = last.ok_or_else(|| anyhow::anyhow!("no update at all"))?;
    anyhow::ensure!(last.ended && last.status() == OrderStatus::Rejected, "{last:?}");

    // The order is watched live: another orchestrator may get the reply, and the change shows here.
    let mut request = order("watched-live", "teapot", "tok_slow");
    request.wait = false;
    let placed = system.orders()?.place_order(request).await?.into_inner();
    anyhow::ensure!(placed.status() == OrderStatus::Pending, "{placed:?}");
    let request = WatchOrderRequest { order_id: placed.order_id.clone() };
    let mut updates = other.watch_order(request).await?.into_inner();
    let mut ended = false;
    while let Some(update) =
        tokio::time::timeout(Duration::from_secs(30), updates.message()).await??
    {
        ended = update.ended;
    }
    anyhow::ensure!(ended, "the stream ended before the order");
    let request = GetOrderRequest { order_id: placed.order_id };
    let order = other.get_order(request).await?.into_inner();
    anyhow::ensure!(order.status() == OrderStatus::Confirmed, "{order:?}");
    Ok(())
}

async fn a_cancel_undoes_what_is_not_captured(system: &System) -> anyhow::Result<()> {
    let mut request = order("to-cancel", "teapot", "tok_slow");
    request.wait = false;
    let mut orders = system.orders()?;
    let placed = orders.place_order(request).await?.into_inner();
    let cancel = CancelOrderRequest { order_id: placed.order_id.clone(), reason: "changed".into() };
    let mut other = OrdersClient::new(system.channel("orchestrator-2")?);
    let cancelled = other.cancel_order(cancel.clone()).await?.into_inner();
    anyhow::ensure!(cancelled.status() == OrderStatus::Cancelled, "{cancelled:?}");
    // A second cancel gets the same answer.
    let again = orders.cancel_order(cancel).await?.into_inner();
    anyhow::ensure!(again.status() == OrderStatus::Cancelled, "{again:?}");

    let placed = orders.place_order(order("kept", "teapot", "tok_approved")).await?.into_inner();
    anyhow::ensure!(placed.status() == OrderStatus::Confirmed, "{placed:?}");
    let cancel = CancelOrderRequest { order_id: placed.order_id, reason: String::new() };
    let refused = orders.cancel_order(cancel).await.expect_err("captured");
    anyhow::ensure!(refused.code() == Code::FailedPrecondition, "{refused}");
    let audit = Audit::open(system).await?;
    audit.wait_until_quiet(REST).await
}
