//! Returns over Postgres and RabbitMQ, with `kill -9` in the middle. Afterwards the databases must
//! agree.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use saga::client::again;
use saga_proto::shop::v1::{ReturnOrderRequest, ReturnStatus, orders_client::OrdersClient};
use saga_test_support::shopper::{GOOD_CARD, order, waiting};
use tonic::transport::Channel;

use crate::{
    load::PATIENCE,
    returns,
    system::{ONE_OF_EACH, System, with_system},
};

/// The number of returns in flight when a process is killed.
const RETURNS: usize = 40;
/// The time for which a killed role stays down.
const DOWN: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn returns_add_up_whatever_is_killed_meanwhile() -> anyhow::Result<()> {
    with_system(ONE_OF_EACH, &[], add_up).await
}

async fn add_up(system: &System) -> anyhow::Result<()> {
    system.stock("teapot", 1_000).await?;
    returns::tell(system.channel("orchestrator-1")?).await?;
    for victim in ["orchestrator-1", "order-1", "inventory-1", "payment-1"] {
        let channel = system.channel("orchestrator-1")?;
        let placed = (0..RETURNS).map(|n| place(channel.clone(), format!("{victim}-{n}")));
        let orders = try_join_all(placed).await.context("placing")?;
        let asked: Vec<_> = orders
            .into_iter()
            .map(|order| tokio::spawn(give_back(channel.clone(), order)))
            .collect();
        tokio::time::sleep(Duration::from_millis(60)).await;
        system.kill(victim)?;
        tokio::time::sleep(DOWN).await;
        system.start_role(victim).await?;
        for one in asked {
            one.await?.with_context(|| format!("while {victim} was killed"))?;
        }
    }
    let report = system.run(&["audit", "--wait", "120"]).await?;
    ensure!(report.contains("audit: PASS"), "{report}");
    Ok(())
}

async fn place(channel: Channel, key: String) -> anyhow::Result<String> {
    let request = waiting(order(&key, "teapot", 2, GOOD_CARD));
    Ok(OrdersClient::new(channel).place_order(request).await?.into_inner().order_id)
}

/// Requests a return under one key until the answer says that it is done.
pub(crate) async fn give_back(channel: Channel, order: String) -> anyhow::Result<()> {
    let asked = ReturnOrderRequest {
        idempotency_key: format!("return-{order}"),
        order_id: order,
        wait: true,
        ..ReturnOrderRequest::default()
    };
    let mut repeats = 0;
    let returned = again::until_answered(PATIENCE, &mut repeats, || {
        again::give_back_once(OrdersClient::new(channel.clone()), asked.clone())
    });
    let returned = returned.await.with_context(|| format!("return of {}", asked.order_id))?;
    ensure!(returned.status() == ReturnStatus::Done, "it did not come back: {returned:?}");
    Ok(())
}
