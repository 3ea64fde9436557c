//! A short retention: ended sagas are forgotten everywhere while new orders go on. The orders
//! themselves stay, and nothing is lost.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use saga_proto::{order::v1::OrderStatus, shop::v1::GetOrderRequest};
use sqlx::PgPool;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{
    audit::Audit,
    load::{Load, Logged, expected},
    system::{System, TWO_ORCHESTRATORS, with_system},
};

const RETENTION: &str = "12";
/// More than the retention, the time that a watermark takes to settle, and a busy machine.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_forgotten_under_load_and_nothing_is_lost() -> anyhow::Result<()> {
    let settings = [("SAGA_RETENTION_SECONDS_FOR_TESTS", RETENTION)];
    with_system(TWO_ORCHESTRATORS, &settings, forgotten).await
}

async fn forgotten(system: &System) -> anyhow::Result<()> {
    system.stock("teapot", 100_000).await?;
    system.stock("cup", 100_000).await?;
    let audit = Audit::open(system).await?;
    let channels = vec![system.channel("orchestrator-1")?, system.channel("orchestrator-2")?];
    let load = |name: &str, orders: usize, pace: Duration| Load {
        orders,
        clients: 4,
        name: name.to_owned(),
        token: |n| if n % 5 == 0 { "tok_declined" } else { "tok_approved" },
        sku: |n| if n % 2 == 0 { "teapot" } else { "cup" },
        pace,
    };

    let old = load("old", 60, Duration::ZERO).run(channels.clone()).await?;
    // A key that is younger than the retention still gets its first answer.
    let (again, repeated) = place(system, &old[59]).await?;
    ensure!(repeated && again == old[59].order_id, "{again} for {:?}", old[59]);

    // New orders are needed while the old sagas are forgotten: their commands bring the watermark
    // to the participants.
    let new = Arc::new(Mutex::new(Vec::new()));
    let going_on = tokio::spawn({
        let (load, new) = (load("new", 100_000, Duration::from_millis(250)), Arc::clone(&new));
        async move { load.run_into(channels, new).await }
    });
    let gone = until_forgotten(&audit, &old).await;
    ensure!(!going_on.is_finished(), "the load ended: {:?}", going_on.await);
    gone?;

    // Orders stay and can still be read, but their idempotency keys are free again.
    for order in &old {
        let request = GetOrderRequest { order_id: order.order_id.clone() };
        let found = system.orders()?.get_order(request).await?.into_inner();
        ensure!(found.status() == expected(order).0, "{found:?}");
    }
    let confirmed = old.iter().find(|order| expected(order).0 == OrderStatus::Confirmed);
    let confirmed = confirmed.context("some were confirmed")?;
    let (another, repeated) = place(system, confirmed).await?;
    ensure!(!repeated && another != confirmed.order_id, "a pruned key means a new order");

    // The load can be stopped at any moment: each accepted order is in the log or about to be.
    going_on.abort();
    let _ = going_on.await;
    for (name, label) in [
        ("saga_pruned_total", "what=\"sagas\""),
        ("saga_pruned_total", "what=\"history\""),
        ("saga_pruned_total", "what=\"keys\""),
        ("saga_participant_pruned_total", "participant=\"order\""),
        ("saga_participant_pruned_total", "participant=\"inventory\""),
        ("saga_participant_pruned_total", "participant=\"payment\""),
    ] {
        ensure!(system.metric(name, label).await? >= 60.0, "{name} {label}");
    }
    let report = system.output(&["audit", "--wait", "60", "--require-rows"]).await?;
    ensure!(report.status.success(), "{}", String::from_utf8_lossy(&report.stdout));
    // Every accepted order exists and reaches the end that it must have.
    let accepted = new.lock().await.clone();
    ensure!(accepted.len() > 20, "only {} orders went on", accepted.len());
    for order in &accepted {
        let request = GetOrderRequest { order_id: order.order_id.clone() };
        let found = system.orders()?.get_order(request).await?.into_inner();
        ensure!(found.status() == expected(order).0, "{found:?}");
    }
    by_command(system, &audit).await
}

/// Checks that `saga prune` deletes sagas that the orchestrators have not pruned yet.
async fn by_command(system: &System, audit: &Audit) -> anyhow::Result<()> {
    tokio::time::sleep(Duration::from_secs(12)).await;
    let dry = system.run(&["prune", "--dry-run"]).await?;
    ensure!(dry.starts_with("would delete "), "{dry}");
    let none = system.run(&["prune", "--before", "2020-01-01"]).await?;
    ensure!(none.starts_with("deleted 0 sagas, 0 rows of history, 0 keys"), "{none}");
    let all = system.run(&["prune", "--batch", "7"]).await?;
    ensure!(all.starts_with("deleted "), "{all}");
    let left = "SELECT count(*) FROM sagas, saga_watermark WHERE id < below";
    ensure!(count(&audit.orchestrator, left).await? == 0, "{all}");
    let wrong = system.output(&["prune", "--before", "yesterday"]).await?;
    ensure!(wrong.status.code() == Some(64), "{wrong:?}");
    Ok(())
}

async fn until_forgotten(audit: &Audit, old: &[Logged]) -> anyhow::Result<()> {
    let ids = old.iter().map(|order| order.order_id.parse());
    let ids: Vec<Uuid> = ids.collect::<Result<_, _>>()?;
    let deadline = tokio::time::Instant::now() + FORGOTTEN_WITHIN;
    loop {
        let mut left = BTreeSet::new();
        for (pool, name, sql) in [
            (&audit.orchestrator, "sagas", "SELECT count(*) FROM sagas WHERE id = ANY($1)"),
            (
                &audit.orchestrator,
                "histories",
                "SELECT count(*) FROM saga_history WHERE saga_id = ANY($1)",
            ),
            (
                &audit.orchestrator,
                "keys",
                "SELECT count(*) FROM idempotency_keys WHERE saga_id = ANY($1)",
            ),
            (&audit.order, "order", "SELECT count(*) FROM inbox WHERE saga_id = ANY($1)"),
            (&audit.inventory, "inventory", "SELECT count(*) FROM inbox WHERE saga_id = ANY($1)"),
            (&audit.payment, "payment", "SELECT count(*) FROM inbox WHERE saga_id = ANY($1)"),
        ] {
            let found: i64 = sqlx::query_scalar(sql).bind(&ids).fetch_one(pool).await?;
            if found > 0 {
                left.insert((name, found));
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        ensure!(tokio::time::Instant::now() < deadline, "not forgotten: {left:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn count(pool: &PgPool, sql: &'static str) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar(sql).fetch_one(pool).await?)
}

/// Places a logged order again, with the same key and the same request.
async fn place(system: &System, order: &Logged) -> anyhow::Result<(String, bool)> {
    let placed = system.orders()?.place_order(order.request()?).await?.into_inner();
    Ok((placed.order_id, placed.repeated))
}
