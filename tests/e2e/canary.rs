//! A payment token does not leak: it is in no log, trace or metric, in no message except the
//! command that must carry it, and in no database once the saga has ended.

use std::{
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use saga_test_support::{amqp::Listener, eventually, shopper::order};
use tokio::task::JoinHandle;
use tonic::Code;

use crate::{
    audit::Audit,
    collector::Collector,
    system::{ONE_OF_EACH, REPLICATED, System, with_system},
};

/// Part of every payment token in this test.
const CANARY: &str = "canary7f3a91";

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_token_is_where_it_must_be_and_nowhere_else() -> anyhow::Result<()> {
    let collector = Collector::start().await?;
    let endpoint = collector.endpoint.clone();
    let settings = [
        ("SAGA_OTLP_ENDPOINT", endpoint.as_str()),
        ("SAGA_LOG", "debug"),
        ("SAGA_LOG_FORMAT", "json"),
    ];
    with_system(ONE_OF_EACH, &settings, async |system| search(system, &collector).await).await
}

async fn search(system: &System, collector: &Collector) -> anyhow::Result<()> {
    system.stock("teapot", 1_000).await?;
    let (url, prefix) = (system.amqp_url(), system.prefix());
    let exchange = |name: &str| format!("{prefix}{name}");
    let commands = Tap::on(url, &exchange("saga.commands"), &["payment"]).await?;
    let others = [
        Tap::on(url, &exchange("saga.commands"), &["order", "inventory"]).await?,
        Tap::on(url, &exchange("saga.replies.order"), &["orchestrator"]).await?,
        Tap::on(url, &exchange("saga.replies.inventory"), &["orchestrator"]).await?,
        Tap::on(url, &exchange("saga.replies.payment"), &["orchestrator"]).await?,
        Tap::on(url, &exchange("shop.events"), &["#"]).await?,
        Tap::on(url, &exchange("saga.quarantine"), &[""]).await?,
        Tap::on(url, &exchange("saga.quarantine.payment"), &[""]).await?,
        Tap::on(url, &exchange("saga.quarantine.orchestrator"), &[""]).await?,
    ];

    // While a saga may need the token, the token is in its row, and this search finds it there.
    place(system, "tok_very_slow", "teapot").await?;
    eventually("the token in the running saga's row", Duration::from_secs(10), async || {
        dump(system, "orchestrator").ok().filter(|dump| dump.contains(CANARY)).map(drop)
    })
    .await;

    for (token, sku) in [
        ("tok_approved", "teapot"),
        ("tok_declined", "teapot"),
        ("tok_capture_declined", "teapot"),
        ("tok_answer_lost", "teapot"),
        ("tok_down", "teapot"),
        ("tok_never_issued", "teapot"),
        ("tok_approved", "unknown"),
    ] {
        place(system, token, sku).await?;
    }
    refused(system, &format!("tok_{CANARY} with blanks\u{e9}")).await?;
    refused(system, &format!("4111111111111111{CANARY}")).await?;
    // A crash and a restart write other log lines, which are searched too.
    system.kill("payment-1")?;
    system.start_role("payment-1").await?;
    Audit::open(system).await?.wait_until_quiet(Duration::from_secs(90)).await?;

    let mut carried = 0;
    for (_, body) in commands.seen() {
        let members: Vec<serde_json::Value> = serde_json::from_str(&body)?;
        for member in members.iter().filter(|member| member.to_string().contains(CANARY)) {
            anyhow::ensure!(member["type"] == "saga.payment.v1.AuthorisePayment", "{member}");
            carried += 1;
        }
    }
    anyhow::ensure!(carried >= 7, "only {carried} commands carried a token: a tap is broken");
    let mut looked_at = 0;
    for (key, body) in others.iter().flat_map(Tap::seen) {
        anyhow::ensure!(!body.contains(CANARY), "in a message under {key}");
        looked_at += 1;
    }
    anyhow::ensure!(looked_at >= 40, "only {looked_at} other messages: a tap is broken");

    for role in REPLICATED {
        let dump = dump(system, role)?;
        anyhow::ensure!(dump.contains("CREATE TABLE"), "no dump of the database of {role}");
        anyhow::ensure!(!dump.contains(CANARY), "in the database of {role}");
    }
    let ledger = std::fs::read(system.provider_ledger())?;
    anyhow::ensure!(!contains(&ledger), "in the provider's ledger");
    for (role, address) in system.metrics() {
        let text = reqwest::get(format!("http://{address}/metrics")).await?.text().await?;
        anyhow::ensure!(!text.contains(CANARY), "in the metrics of {role}");
    }
    // All roles are stopped, so that the last log lines are written and the last spans exported.
    for name in system.names() {
        system.stop(&name)?;
    }
    let mut lines = 0;
    for log in std::fs::read_dir(system.dir().join("logs"))? {
        let log = log?.path();
        let text = std::fs::read(&log)?;
        anyhow::ensure!(!contains(&text), "in the log {}", log.display());
        lines += text.split(|byte| *byte == b'\n').count();
    }
    anyhow::ensure!(lines > 50, "only {lines} lines of logs");
    let traces = collector.text();
    anyhow::ensure!(traces.contains("AuthorisePayment") || traces.contains("authorise-payment"));
    anyhow::ensure!(!traces.contains(CANARY), "in a trace");
    Ok(())
}

/// Takes a copy of every message at once, because a copy expires when its command does.
struct Tap {
    seen: Arc<Mutex<Vec<(String, String)>>>,
    taking: JoinHandle<anyhow::Result<()>>,
}

impl Tap {
    async fn on(url: &str, exchange: &str, keys: &[&str]) -> anyhow::Result<Self> {
        let listener = Listener::bind(url, exchange, keys).await?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&seen);
        let taking = tokio::spawn(async move {
            loop {
                while let Some(message) = listener.take().await? {
                    let body = String::from_utf8_lossy(&message.body).into_owned();
                    taken.lock().expect("not poisoned").push((message.key, body));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Ok(Self { seen, taking })
    }

    /// Returns the routing keys and bodies of all messages so far.
    fn seen(&self) -> Vec<(String, String)> {
        self.seen.lock().expect("not poisoned").clone()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.taking.abort();
    }
}

fn contains(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
}

async fn place(system: &System, token: &str, sku: &str) -> anyhow::Result<()> {
    // The key is the client's own text, so it must not contain the canary.
    let order = order(&format!("{token}-{sku}"), sku, 1, &format!("{token}-{CANARY}"));
    system.orders()?.place_order(order).await?;
    Ok(())
}

/// Checks that an order with this token is refused, and that the answer does not repeat the token.
async fn refused(system: &System, token: &str) -> anyhow::Result<()> {
    let order = order(&token.len().to_string(), "teapot", 1, token);
    let status = system.orders()?.place_order(order).await;
    let status = status.err().context("such a token was let in")?;
    anyhow::ensure!(status.code() == Code::InvalidArgument, "{status:?}");
    anyhow::ensure!(!format!("{status:?}").contains(CANARY), "in the answer");
    Ok(())
}

/// Dumps a role's database, as a backup would.
fn dump(system: &System, role: &str) -> anyhow::Result<String> {
    let url = system.database_url(role);
    let dump = Command::new("pg_dump").args(["--dbname", &url]).output()?;
    let problem = String::from_utf8_lossy(&dump.stderr);
    anyhow::ensure!(dump.status.success(), "pg_dump of {role}: {problem}");
    Ok(String::from_utf8_lossy(&dump.stdout).into_owned())
}
