//! The whole system is killed with `kill -9` under load, again and again.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::ensure;
use saga_proto::order::v1::OrderStatus;

use crate::{
    load::{Load, Logged, expected},
    system::{audit, embedded},
};

const KILLS: u32 = 20;
/// Determines the moments of the kills.
const SEED: u64 = 20_261_124;
/// The time from serving to the kill, in milliseconds: sometimes in the middle of recovering,
/// sometimes at full load.
const LIVES: std::ops::Range<u64> = 50..1_200;

#[tokio::test(flavor = "multi_thread")]
async fn killed_twenty_times_under_load_it_finishes_every_accepted_order() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let system = embedded(&data, &dir.path().join("logs"));
    system.start().await?;
    system.stock("teapot", 1_000_000).await?;
    system.stock("cup", 1_000_000).await?;
    let load = Load {
        orders: 1_500,
        clients: 48,
        name: "killed".to_owned(),
        token,
        sku: |n| if n % 2 == 0 { "teapot" } else { "cup" },
        pace: Duration::from_millis(500),
    };
    let placing = tokio::spawn({
        let (load, channel) = (load.clone(), system.channel()?);
        async move { load.run(vec![channel]).await }
    });
    let mut random = SEED;
    let mut under_load = 0;
    for _ in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let life = LIVES.start + (random >> 33) % (LIVES.end - LIVES.start);
        tokio::time::sleep(Duration::from_millis(life)).await;
        under_load += u32::from(!placing.is_finished());
        system.kill()?;
        system.start().await?;
    }
    ensure!(under_load == KILLS, "the load was over after {under_load} of {KILLS} kills");
    let log = placing.await??;
    audit(&data).await?;
    every_order_ended_as_it_must(&data, &log)?;
    every_key_is_bound(&data, &log)?;
    ensure!(log.len() == load.orders, "{} of {} accepted", log.len(), load.orders);
    let resent = resent(&data)?;
    ensure!(resent > 0, "nothing was sent again: the kills proved nothing");
    eprintln!("{} orders, {KILLS} kills, {resent} transitions that sent again", log.len());
    system.stop()
}

/// Some cards are declined or behave oddly, but each ends the same way whatever is killed.
fn token(n: usize) -> &'static str {
    match n % 20 {
        3 => "tok_declined",
        7 => "tok_capture_declined",
        11 => "tok_answer_lost",
        13 => "tok_capture_answer_lost",
        17 => "tok_slow",
        _ => "tok_approved",
    }
}

fn every_order_ended_as_it_must(data: &Path, log: &[Logged]) -> anyhow::Result<()> {
    let database = rusqlite::Connection::open(data.join("order.sqlite"))?;
    let mut rows = database
        .prepare("SELECT lower(hex(order_id)), status, coalesce(reason_code, '') FROM orders")?;
    let rows = rows.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    let orders: BTreeMap<String, (i32, String)> = rows.collect::<Result<_, _>>()?;
    for logged in log {
        let Some((status, reason)) = orders.get(&logged.order_id.replace('-', "")) else {
            anyhow::bail!("lost: {logged:?} was accepted and is in no table");
        };
        let (expected, why) = expected(logged);
        ensure!(
            OrderStatus::try_from(*status) == Ok(expected) && reason == why,
            "{logged:?} ended as {status} {reason:?}, not {expected:?} {why:?}"
        );
    }
    ensure!(orders.len() == log.len(), "{} orders for {} accepted", orders.len(), log.len());
    Ok(())
}

/// Checks that every key belongs to the order that its client was told.
fn every_key_is_bound(data: &Path, log: &[Logged]) -> anyhow::Result<()> {
    let database = rusqlite::Connection::open(data.join("orchestrator.sqlite"))?;
    let mut rows = database.prepare("SELECT key, lower(hex(saga_id)) FROM idempotency_keys")?;
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let bound: BTreeMap<String, String> = rows.collect::<Result<_, _>>()?;
    for logged in log {
        let id = logged.order_id.replace('-', "");
        ensure!(bound.get(&logged.key) == Some(&id), "{logged:?} is bound to something else");
    }
    ensure!(bound.len() == log.len(), "{} keys for {} orders", bound.len(), log.len());
    Ok(())
}

/// Returns the number of times that a saga woke and sent a command again.
fn resent(data: &Path) -> anyhow::Result<i64> {
    let database = rusqlite::Connection::open(data.join("orchestrator.sqlite"))?;
    let query = r#"SELECT count(*) FROM saga_history WHERE entry LIKE '{"what":"resent"%'"#;
    Ok(database.query_row(query, [], |row| row.get(0))?)
}
