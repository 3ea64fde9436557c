//! The dashboard and the alert rules refer to metrics that exist: a real Prometheus scrapes the
//! running system, and every expression returns data once there was traffic.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;
use saga_test_support::{
    eventually, free_port,
    process::{Launch, Spawned},
};
use serde_json::Value;

use crate::{
    audit::Audit,
    load::Load,
    system::{System, TWO_ORCHESTRATORS, with_system},
};

/// Time for a few scrapes, one each second, on a busy machine.
const SCRAPED: Duration = Duration::from_secs(45);

#[tokio::test(flavor = "multi_thread")]
async fn every_expression_of_dashboard_and_rules_returns_data() -> anyhow::Result<()> {
    with_system(TWO_ORCHESTRATORS, &[], check).await
}

#[test]
fn promtool_finds_nothing_wrong_with_the_rules_and_the_configuration() -> anyhow::Result<()> {
    for (what, file) in [("rules", "rules.yml"), ("config", "prometheus.yml")] {
        let file = deploy().join("prometheus").join(file);
        let checked = Command::new("promtool").arg("check").arg(what).arg(&file).output()?;
        let told = String::from_utf8_lossy(&checked.stderr);
        anyhow::ensure!(checked.status.success(), "{}: {told}", file.display());
    }
    Ok(())
}

async fn check(system: &System) -> anyhow::Result<()> {
    let prometheus = Prometheus::start(system)?;
    // Prometheus must see a counter before the traffic, or the counter has no rate.
    let roles = system.metrics().len().to_string();
    eventually("a first scrape of every role", SCRAPED, async || {
        let up = prometheus.query("sum(up)").await.ok()?;
        (up.first()?["value"][1] == roles.as_str()).then_some(())
    })
    .await;
    system.stock("teapot", 10_000).await?;
    let load = Load {
        orders: 300,
        clients: 32,
        name: "metrics".to_owned(),
        token,
        sku: |n| if n % 25 == 4 { "unknown" } else { "teapot" },
        // Slow enough for several scrapes to see the load.
        pace: Duration::from_millis(500),
    };
    let channels = vec![system.channel("orchestrator-1")?, system.channel("orchestrator-2")?];
    load.run(channels).await?;
    Audit::open(system).await?.wait_until_quiet(Duration::from_secs(60)).await?;

    let mut expressions = dashboard()?;
    let rules = prometheus.rules().await?;
    anyhow::ensure!(rules.len() >= 10, "only {} rules were loaded", rules.len());
    for (alert, expression) in rules {
        // The expression of an alert that does not fire returns nothing, so the test queries only
        // the metric that it compares.
        let looked_at = [" > ", " == "].iter().find_map(|c| expression.rsplit_once(c));
        let (looked_at, _) = looked_at.with_context(|| format!("{alert} compares nothing"))?;
        expressions.push((alert, looked_at.to_owned()));
    }
    let deadline = tokio::time::Instant::now() + SCRAPED;
    loop {
        // Rates fall to nothing when the traffic ends, so one result for each expression is enough.
        let mut missing = Vec::new();
        for (place, expression) in expressions {
            if prometheus.query(&expression).await?.is_empty() {
                missing.push((place, expression));
            }
        }
        if missing.is_empty() {
            break;
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "no data: {missing:#?}");
        expressions = missing;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    meanings_are_told(system).await?;
    // Started and ended sagas must be as many as were measured, so that nothing was lost.
    let started = system.metric("saga_started_total", "").await?;
    let ended = system.metric("saga_ended_total", "").await?;
    let measured = system.metric("saga_seconds_count", "").await?;
    anyhow::ensure!(
        (started, ended, measured) == (300.0, 300.0, 300.0),
        "{started} {ended} {measured}"
    );
    Ok(())
}

fn token(n: usize) -> &'static str {
    match n % 50 {
        3 | 23 => "tok_declined",
        7 => "tok_capture_declined",
        // Slower than the step's time-out, so commands are sent again.
        11 => "tok_very_slow",
        _ => "tok_approved",
    }
}

/// Checks that each of our metrics has a help text.
async fn meanings_are_told(system: &System) -> anyhow::Result<()> {
    for (role, address) in system.metrics() {
        let text = reqwest::get(format!("http://{address}/metrics")).await?.text().await?;
        for name in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let name = name.split(' ').next().unwrap_or_default();
            let help = text.contains(&format!("# HELP {name} "));
            anyhow::ensure!(help, "{name} of {role} is not described");
        }
    }
    Ok(())
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy")
}

/// Returns every expression of the dashboard, with the panel that it is in.
fn dashboard() -> anyhow::Result<Vec<(String, String)>> {
    let file = deploy().join("grafana").join("dashboards").join("saga.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let mut expressions = Vec::new();
    for panel in dashboard["panels"].as_array().context("panels")? {
        for target in panel["targets"].as_array().context("targets")? {
            let expression = target["expr"].as_str().context("an expression")?;
            let title = panel["title"].as_str().context("a title")?.to_owned();
            // Grafana would insert its interval here.
            expressions.push((title, expression.replace("$__rate_interval", "1m")));
        }
    }
    anyhow::ensure!(expressions.len() >= 20, "only {} expressions", expressions.len());
    Ok(expressions)
}

/// A Prometheus that runs for this test only.
struct Prometheus {
    address: String,
    _process: Spawned,
    _data: tempfile::TempDir,
}

impl Prometheus {
    fn start(system: &System) -> anyhow::Result<Self> {
        let data = tempfile::tempdir()?;
        let targets: Vec<String> =
            system.metrics().into_iter().map(|(_, address)| format!("\"{address}\"")).collect();
        let rules = deploy().join("prometheus").join("rules.yml");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [\"{}\"]\n\
             scrape_configs:\n  - job_name: saga\n    static_configs: [ {{ targets: [{}] }} ]\n",
            rules.display(),
            targets.join(", ")
        );
        let file = data.path().join("prometheus.yml");
        std::fs::write(&file, config)?;
        let address = format!("127.0.0.1:{}", free_port());
        let launch = Launch {
            name: "prometheus".to_owned(),
            program: "prometheus".into(),
            args: vec![
                format!("--config.file={}", file.display()),
                format!("--storage.tsdb.path={}", data.path().join("data").display()),
                format!("--web.listen-address={address}"),
            ],
            env: BTreeMap::new(),
            log_dir: system.dir().join("logs"),
        };
        Ok(Self { address, _process: Spawned::start(&launch)?, _data: data })
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
        let mut url = reqwest::Url::parse(&format!("http://{}/api/v1/{path}", self.address))?;
        url.query_pairs_mut().extend_pairs(query);
        let answer: Value = reqwest::get(url).await?.json().await?;
        anyhow::ensure!(answer["status"] == "success", "{path} {query:?}: {answer}");
        Ok(answer["data"].clone())
    }

    /// Returns an expression's current series, without those whose value is NaN.
    async fn query(&self, expression: &str) -> anyhow::Result<Vec<Value>> {
        let data = self.ask("query", &[("query", expression)]).await?;
        let series = data["result"].as_array().context("a result")?.clone();
        Ok(series.into_iter().filter(|series| series["value"][1] != "NaN").collect())
    }

    /// Returns the alerts as Prometheus has loaded them.
    async fn rules(&self) -> anyhow::Result<Vec<(String, String)>> {
        let data = self.ask("rules", &[]).await?;
        let groups = data["groups"].as_array().context("groups")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array()).flatten();
        rules
            .map(|rule| {
                anyhow::ensure!(rule["health"] != "err", "{rule}");
                let text = |key: &str| rule[key].as_str().context("a text").map(str::to_owned);
                Ok((text("name")?, text("query")?))
            })
            .collect()
    }
}
