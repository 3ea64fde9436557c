//! Clients in other languages: Python code that is generated from the contract.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use saga_test_support::process::Launch;
use serde_json::Value;

use crate::{
    audit::Audit,
    load::Logged,
    system::{ONE_OF_EACH, System, with_system},
};

/// The Python event consumer, with its own durable queue.
pub(crate) struct EventConsumer {
    arguments: Vec<String>,
    orders: PathBuf,
}

impl EventConsumer {
    /// Binds the consumer's queue, so that no later event is missed.
    pub(crate) fn start(system: &System) -> anyhow::Result<Self> {
        let arguments: Vec<String> = [
            "--amqp",
            system.amqp_url(),
            "--prefix",
            system.prefix(),
            "--queue",
            &format!("{}python", system.prefix()),
            "--json",
        ]
        .map(str::to_owned)
        .to_vec();
        let consumer = Self { arguments, orders: system.dir().join("orders.txt") };
        python(
            "consume_events.py",
            &[&consumer.arguments[..], &["--until-idle".into(), "1".into()]].concat(),
        )?;
        Ok(consumer)
    }

    /// Checks that the consumer got all events of each of these orders, without a gap in their
    /// sequence numbers.
    pub(crate) async fn every_order_is_complete(&self, orders: &[Logged]) -> anyhow::Result<()> {
        let ids: Vec<&str> = orders.iter().map(|order| order.order_id.as_str()).collect();
        std::fs::write(&self.orders, ids.join("\n"))?;
        let mut arguments = self.arguments.clone();
        arguments.extend(["--orders".to_owned(), self.orders.display().to_string()]);
        let summary = tokio::task::block_in_place(|| python("consume_events.py", &arguments))?;
        let complete = summary["complete"].as_u64().context("no count of complete orders")?;
        ensure!(complete == orders.len() as u64, "{complete} of {}: {summary}", orders.len());
        Ok(())
    }
}

/// Returns the command for an example that runs until it is killed. Its log is in `dir`.
pub(crate) fn launch(script: &str, arguments: &[&str], dir: &Path) -> anyhow::Result<Launch> {
    let (program, path) = example(script)?;
    let mut args = vec![path.display().to_string()];
    args.extend(arguments.iter().map(|&argument| argument.to_owned()));
    Ok(Launch {
        name: script.trim_end_matches(".py").to_owned(),
        program,
        args,
        env: BTreeMap::new(),
        log_dir: dir.join("logs"),
    })
}

/// Returns the paths of the interpreter and of an example.
fn example(script: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = root.join(".venv/bin/python");
    ensure!(interpreter.exists(), "no {}: scripts/test makes it", interpreter.display());
    Ok((interpreter, root.join("examples/python").join(script)))
}

/// Runs an example to its end and returns the JSON of its last line.
fn python(script: &str, arguments: &[String]) -> anyhow::Result<Value> {
    let (interpreter, path) = example(script)?;
    let output = std::process::Command::new(interpreter).arg(path).args(arguments).output()?;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let last = out.lines().last().unwrap_or_default();
    let summary = serde_json::from_str(last)
        .with_context(|| format!("{script}: {} {out} {err}", output.status))?;
    ensure!(output.status.success(), "{script}: {}: {summary} {err}", output.status);
    Ok(summary)
}

#[tokio::test(flavor = "multi_thread")]
async fn python_clients_place_watch_and_follow_orders() -> anyhow::Result<()> {
    with_system(ONE_OF_EACH, &[], place_watch_and_follow).await
}

async fn place_watch_and_follow(system: &System) -> anyhow::Result<()> {
    let consumer = EventConsumer::start(system)?;
    let server = system.address("orchestrator-1").replace("http://", "");
    let place = |token: &str, orders: &str| {
        let arguments = ["--server", &server, "--orders", orders, "--token", token, "--json"];
        tokio::task::block_in_place(|| python("place_order.py", &arguments.map(str::to_owned)))
    };
    let mut all = Vec::new();
    for (token, status) in [("tok_approved", "CONFIRMED"), ("tok_declined", "REJECTED")] {
        let placed = place(token, "5")?;
        let orders = placed["orders"].as_array().context("no orders")?;
        ensure!(orders.len() == 5, "{placed}");
        for order in orders {
            ensure!(order["status"] == status, "{order}");
            let order_id = order["orderId"].as_str().context("no id")?.to_owned();
            all.push(Logged {
                key: String::new(),
                order_id,
                token: token.into(),
                sku: String::new(),
            });
        }
    }
    let audit = Audit::open(system).await?;
    audit.wait_until_quiet(std::time::Duration::from_secs(60)).await?;
    consumer.every_order_is_complete(&all).await
}
