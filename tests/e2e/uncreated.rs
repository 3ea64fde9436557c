//! Orders that are undone before the order service has created them. Needs its own system, because
//! the order service is away.

use std::time::Duration;

use saga_proto::{
    order::v1::OrderStatus,
    shop::v1::{CancelOrderRequest, GetOrderRequest, ListOrdersRequest},
};
use saga_test_support::shopper::{self, GOOD_CARD};
use tokio::time::Instant;

use crate::system::{ONE_OF_EACH, System, with_system};

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_order_stays_an_order_although_it_is_undone_before_it_is_created()
-> anyhow::Result<()> {
    with_system(ONE_OF_EACH, &[("SAGA_ORDER_DEADLINE_SECONDS", "4")], scenario).await
}

async fn scenario(system: &System) -> anyhow::Result<()> {
    system.stock("teapot", 10).await?;
    system.kill("order-1")?;
    let cancelled = place(system, "cancelled").await?;
    let late = place(system, "late").await?;
    let mut wish = tonic::Request::new(CancelOrderRequest {
        order_id: cancelled.clone(),
        reason: "found it cheaper".to_owned(),
    });
    // It cannot end yet, so the server answers a little before this limit.
    wish.set_timeout(Duration::from_secs(2));
    system.orders()?.cancel_order(wish).await?;
    // The deadline of the other order passes.
    tokio::time::sleep(Duration::from_secs(5)).await;
    system.start_role("order-1").await?;
    for (order, due) in [(&cancelled, OrderStatus::Cancelled), (&late, OrderStatus::Rejected)] {
        let until = Instant::now() + Duration::from_secs(60);
        while status(system, order).await? != due {
            anyhow::ensure!(Instant::now() < until, "{order} does not end as {due:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    // The list is read from the order service, which keeps an order for good.
    let asked = ListOrdersRequest { customer: "alice".to_owned(), ..ListOrdersRequest::default() };
    let listed = system.orders()?.list_orders(asked).await?.into_inner().orders;
    let ends: Vec<_> = listed.iter().map(|o| (o.order_id.as_str(), o.status())).collect();
    let due =
        [(late.as_str(), OrderStatus::Rejected), (cancelled.as_str(), OrderStatus::Cancelled)];
    anyhow::ensure!(ends == due, "{ends:?} instead of {due:?}");
    system.run(&["audit", "--wait", "60"]).await?;
    Ok(())
}

async fn place(system: &System, key: &str) -> anyhow::Result<String> {
    let order = shopper::order(key, "teapot", 1, GOOD_CARD);
    Ok(system.orders()?.place_order(order).await?.into_inner().order_id)
}

async fn status(system: &System, order_id: &str) -> anyhow::Result<OrderStatus> {
    let asked = GetOrderRequest { order_id: order_id.to_owned() };
    Ok(system.orders()?.get_order(asked).await?.into_inner().status())
}
