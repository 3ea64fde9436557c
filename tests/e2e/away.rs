//! The payment provider is down for longer than an order's deadline. The circuit breaker and the
//! deadline have their production defaults.

use std::time::Duration;

use saga_proto::{
    order::v1::OrderStatus,
    shop::v1::{GetOrderRequest, PlaceOrderResponse},
};
use saga_test_support::shopper::{GOOD_CARD, order};
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::system::{ONE_OF_EACH, System, with_system};

/// The default of `SAGA_ORDER_DEADLINE_SECONDS`.
const DEADLINE: Duration = Duration::from_secs(60);
/// The breaker's longest pause, and some time to notice its end on a busy machine.
const PROBE: Duration = Duration::from_secs(10 + 15);

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_refused_at_once_while_the_provider_has_been_away_for_as_long_as_they_wait()
-> anyhow::Result<()> {
    let deadline = DEADLINE.as_secs().to_string();
    let defaults = [("SAGA_ORDER_DEADLINE_SECONDS", deadline.as_str())];
    with_system(ONE_OF_EACH, &defaults, scenario).await
}

async fn scenario(system: &System) -> anyhow::Result<()> {
    system.stock("teapot", 1_000).await?;
    system.kill("provider")?;
    let gone = Instant::now();
    // These orders are accepted because the provider might return before their deadline. It does
    // not, and none of their calls ever reaches it.
    let mut early = Vec::new();
    for n in 0..8 {
        early.push(place(system, &format!("early-{n}")).await?.order_id);
    }
    tokio::time::sleep_until(gone + DEADLINE - Duration::from_secs(5)).await;
    let refusal = loop {
        let key = format!("late-{}", gone.elapsed().as_millis());
        if let Err(refusal) = place(system, &key).await {
            break refusal;
        }
        anyhow::ensure!(gone.elapsed() < DEADLINE * 2, "orders are still accepted");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    anyhow::ensure!(gone.elapsed() >= DEADLINE, "refused after {:?}", gone.elapsed());
    anyhow::ensure!(refusal.code() == Code::Unavailable, "{refusal}");
    let advice = refusal.get_details_retry_info().and_then(|info| info.retry_delay);
    anyhow::ensure!(advice.is_some_and(|delay| delay > Duration::ZERO), "{refusal:?}");
    let again = place(system, "early-0").await?;
    anyhow::ensure!(again.repeated && again.order_id == early[0], "{again:?}");

    // Their holds never reached the provider, so they are undone although it is down.
    for order in &early {
        let until = gone + DEADLINE * 3;
        while status(system, order).await? != OrderStatus::Rejected {
            anyhow::ensure!(Instant::now() < until, "{order} is not undone");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    system.start_role("provider").await?;
    let back = Instant::now();
    while let Err(refusal) = place(system, "after").await {
        anyhow::ensure!(refusal.code() == Code::Unavailable, "{refusal}");
        anyhow::ensure!(back.elapsed() < PROBE, "orders are still refused");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let after = place(system, "after").await?;
    // This order is paid after all: it was accepted a few seconds ago.
    system.run(&["audit", "--wait", "120"]).await?;
    anyhow::ensure!(status(system, &after.order_id).await? == OrderStatus::Confirmed);
    Ok(())
}

async fn place(system: &System, key: &str) -> Result<PlaceOrderResponse, Status> {
    let mut orders = system.orders().map_err(|error| Status::internal(error.to_string()))?;
    orders.place_order(order(key, "teapot", 1, GOOD_CARD)).await.map(tonic::Response::into_inner)
}

async fn status(system: &System, order_id: &str) -> anyhow::Result<OrderStatus> {
    let asked = GetOrderRequest { order_id: order_id.to_owned() };
    Ok(system.orders()?.get_order(asked).await?.into_inner().status())
}
