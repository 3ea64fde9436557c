//! What every test does: load, backups, load, restore, reconcile, rest, audit.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use saga_test_support::system::{Hosts, Options, Replicas, System};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use crate::{backup::Backup, load::Load};

/// Environment of every role. The deadline is shorter than the time between a backup and its
/// restore: what was in progress then has no time left, and must not be undone if it was done.
const SETTINGS: [(&str, &str); 3] = [
    ("SAGA_STEP_TIMEOUT_MILLIS", "1500"),
    ("SAGA_PROVIDER_SLOW_MILLIS", "700"),
    ("SAGA_ORDER_DEADLINE_SECONDS", "5"),
];
/// Time in which the last commands of the load reach their services.
const ARRIVED: Duration = Duration::from_secs(1);
/// Time between the backups of two databases.
const BETWEEN_BACKUPS: Duration = Duration::from_millis(1_500);
/// Time limit for all sagas to end once the orchestrators run.
const REST_LIMIT: Duration = Duration::from_secs(60);
/// Pieces of each product: enough for all orders.
const STOCK: i64 = 1_000_000;

/// A test.
pub(crate) struct Story {
    /// The roles whose databases go back.
    pub(crate) databases: &'static [&'static str],
    /// What `saga reconcile` must have found to do.
    pub(crate) takes_up: &'static [&'static str],
}

pub(crate) async fn story(story: Story) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let options = Options {
        program: env!("CARGO_BIN_EXE_saga").into(),
        replicas: Replicas { orchestrators: 1, services: 1 },
        dir: dir.path().to_owned(),
        logs: dir.path().join("logs"),
        hosts: Hosts::own(),
        settings: SETTINGS.map(|(name, value)| (name.into(), value.into())).into(),
    };
    let system = System::new(options).await?;
    let result = Box::pin(tell(&system, &story)).await;
    if result.is_err() {
        eprintln!("{}", system.logs());
    }
    result
}

async fn tell(system: &System, story: &Story) -> anyhow::Result<()> {
    let span = std::env::var("SAGA_RESTORE_SECONDS").ok().and_then(|text| text.parse().ok());
    let span = Duration::from_secs(span.unwrap_or(4));
    system.start().await?;
    for sku in ["cup", "teapot"] {
        system.stock(sku, STOCK).await?;
    }
    let load = Load::start(system)?;
    tokio::time::sleep(span).await;
    let healthy = reconcile(system, &[]).await?;
    for what in ["begunAgain", "askedAgain", "named", "unnamed"] {
        ensure!(healthy[what].as_array().is_some_and(Vec::is_empty), "under load: {healthy}");
    }
    let (mut backups, mut begun) = (Vec::new(), Vec::new());
    for role in story.databases {
        begun.push(Instant::now());
        backups.push(Backup::of(system, role).await?);
        tokio::time::sleep(BETWEEN_BACKUPS).await;
    }
    tokio::time::sleep(span).await;
    let accepted = load.stop().await;
    tokio::time::sleep(ARRIVED).await;

    system.kill("orchestrator-1")?;
    for role in story.databases.iter().filter(|role| **role != "orchestrator") {
        system.kill(&format!("{role}-1"))?;
    }
    for backup in &backups {
        backup.restore(system).await?;
    }
    for role in story.databases.iter().filter(|role| **role != "orchestrator") {
        system.start_role(&format!("{role}-1")).await?;
    }

    let looked = reconcile(system, &["--dry-run"]).await?;
    ensure!(looked["clean"] == false && looked["dryRun"] == true, "{looked}");
    let first = reconcile(system, &[]).await?;
    for what in story.takes_up {
        ensure!(first[what].as_array().is_some_and(|some| !some.is_empty()), "no {what}: {first}");
        ensure!(looked[what].as_array().is_some_and(|some| !some.is_empty()), "{looked}");
    }
    system.start_role("orchestrator-1").await?;
    let last = until_rest(system).await?;
    let named: BTreeSet<&str> = last["named"]
        .as_array()
        .context("a list")?
        .iter()
        .filter_map(|named| named["saga"].as_str())
        .collect();

    show(story, accepted.len(), &first, &last);
    let unnamed = last["unnamed"].as_array().context("a list")?;
    // A sum says not of which saga it is wrong: see below.
    let of_sagas =
        unnamed.iter().filter(|one| !one.as_str().is_some_and(|s| s.starts_with("money")));
    ensure!(of_sagas.count() == 0, "{unnamed:#?}");
    nothing_is_wrong_but_what_is_named(system, &named).await?;
    let known = sagas(system).await?;
    for one in &accepted {
        // What began after the backups of the orchestrator and of the order service, which is the
        // first to hear of it, may have left no trace at all.
        let traceless = begun.get(1).is_some_and(|second| one.at + ARRIVED > *second);
        ensure!(
            known.contains(&one.saga) || named.contains(one.saga.as_str()) || traceless,
            "{one:?} was accepted, and is neither there nor named"
        );
    }
    Ok(())
}

/// Prints what was done, and how often what was named.
fn show(story: &Story, accepted: usize, first: &Value, last: &Value) {
    let count = |what: &str| first[what].as_array().map_or(0, Vec::len);
    eprintln!(
        "{:?}: {accepted} accepted, {} caught up, {} begun again, {} asked again",
        story.databases,
        count("caughtUp"),
        count("begunAgain"),
        count("askedAgain"),
    );
    let mut named: BTreeMap<&str, usize> = BTreeMap::new();
    for one in last["named"].as_array().into_iter().flatten() {
        let what = one["what"].as_str().unwrap_or_default();
        *named.entry(what.split(" has pay_").next().unwrap_or_default()).or_default() += 1;
    }
    for (what, count) in named {
        eprintln!("{count:>6} named: {what}");
    }
}

async fn reconcile(system: &System, more: &[&str]) -> anyhow::Result<Value> {
    let output = system.output(&[&["reconcile", "--json"], more].concat()).await?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(matches!(output.status.code(), Some(0 | 1)), "{}: {error}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!((report["clean"] == true) == output.status.success(), "{report}");
    Ok(report)
}

/// Reconciles again until all sagas have ended and nothing is left to do.
async fn until_rest(system: &System) -> anyhow::Result<Value> {
    let deadline = Instant::now() + REST_LIMIT;
    loop {
        let report = reconcile(system, &[]).await?;
        let done = ["caughtUp", "begunAgain", "askedAgain"]
            .iter()
            .all(|what| report[what].as_array().is_some_and(Vec::is_empty));
        if report["inProgress"] == 0 && done {
            return Ok(report);
        }
        ensure!(Instant::now() < deadline, "it does not come to rest: {report}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Every row that offends the audit belongs to a saga that was named.
async fn nothing_is_wrong_but_what_is_named(
    system: &System,
    named: &BTreeSet<&str>,
) -> anyhow::Result<()> {
    let output = system.output(&["audit", "--json"]).await?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report["at_rest"] == true, "{report}");
    let mut wrong = Vec::new();
    for equation in report["equations"].as_array().context("equations")? {
        for offender in equation["offenders"].as_array().context("offenders")? {
            let text = offender.as_str().context("a text")?;
            // A sum says not of which saga it is wrong: see below.
            let sum = equation["name"] == "money";
            if !sum && !named.iter().any(|saga| text.contains(saga)) {
                wrong.push(format!("{}: {text}", equation["name"]));
            }
        }
    }
    ensure!(wrong.is_empty(), "nobody named:\n{}", wrong.join("\n"));
    // What is named of a return concerns its order's money.
    let mut named: Vec<String> = named.iter().map(|saga| (*saga).to_owned()).collect();
    for (role, sql) in [
        ("payment", "SELECT order_id::text FROM payment_ledger WHERE saga_id::text = ANY($1)"),
        ("order", "SELECT order_id::text FROM returns WHERE return_id::text = ANY($1)"),
    ] {
        let mut database = connect(system, role).await?;
        let more = sqlx::query_scalar(sql).bind(&named).fetch_all(&mut database).await?;
        named.extend(more);
    }
    let kept = sum(
        system,
        "payment",
        "SELECT sum(CASE kind WHEN 'captured' THEN amount WHEN 'refunded' THEN -amount ELSE 0 END)
         FROM payment_ledger WHERE order_id::text <> ALL($1)",
        &named,
    );
    let earned = sum(
        system,
        "order",
        "SELECT sum(total - refunded) FROM orders WHERE status = 2 AND order_id::text <> ALL($1)",
        &named,
    );
    let (kept, earned) = (kept.await?, earned.await?);
    ensure!(kept == earned, "of what is not named, {kept} was kept and {earned} earned");
    Ok(())
}

async fn sum(
    system: &System,
    role: &str,
    sql: &'static str,
    named: &[String],
) -> anyhow::Result<i64> {
    let mut database = connect(system, role).await?;
    let sql = sqlx::AssertSqlSafe(format!("SELECT coalesce(({sql}), 0)::bigint"));
    Ok(sqlx::query_scalar(sql).bind(named).fetch_one(&mut database).await?)
}

async fn sagas(system: &System) -> anyhow::Result<BTreeSet<String>> {
    let mut database = connect(system, "orchestrator").await?;
    let ids: Vec<String> =
        sqlx::query_scalar("SELECT id::text FROM sagas").fetch_all(&mut database).await?;
    Ok(ids.into_iter().collect())
}

async fn connect(system: &System, role: &str) -> anyhow::Result<PgConnection> {
    Ok(PgConnection::connect(&system.database_url(role)).await?)
}
