//! The operators' commands. The provider's outage makes a payment stuck, and `saga`'s commands find
//! its saga, do a dry run, and bring the saga to its end.

use std::process::Output;

use anyhow::{Context as _, ensure};
use saga_test_support::desk::Desk;
use serde_json::Value;

use crate::system::{audit, embedded, saga};

/// Slows the provider down while an order is being paused: long enough for a shell command.
const SLOW: &str = r#"{"millis":1500}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_stuck_is_found_tried_dry_retried_and_the_books_agree()
-> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let mut system = embedded(&data, &dir.path().join("logs"));
    system.launch.env.insert("SAGA_STEP_TIMEOUT_MILLIS".to_owned(), "150".to_owned());
    system.start().await?;
    system.stock("teapot", 100).await?;
    let provider = system.launch.env["SAGA_PROVIDER_LISTEN"].clone();
    let desk = System { server: system.url(), provider };

    let id = held_before_its_capture(&desk).await?;
    desk.provoke("outage", r#"{"seconds":600}"#).await?;
    desk.provoke("delay", r#"{"millis":0}"#).await?;
    desk.done(&["resume", &id, "--reason", "settled"]).await?;
    let stuck = desk.needs_me(|saga| saga["stuckAt"] == "capture-payment/action").await?;
    ensure!(stuck["sagaId"] == id && stuck["stuckSinceMicros"].is_string(), "{stuck}");
    ensure!(stuck["why"] == "capture-payment was not answered within its bound", "{stuck}");
    let remedies = stuck["remedies"].to_string();
    ensure!(remedies.contains("retry") && !remedies.contains("skip"), "{remedies}");

    // Impossible remedies, and remedies for an outdated version, change nothing.
    for (args, code) in [
        (["skip", &id, "--reason", "no", "--dry-run"].as_slice(), "NOT_POSSIBLE"),
        (["compensate", &id, "--reason", "no"].as_slice(), "NOT_POSSIBLE"),
        (["pause", &id, "--reason", "no", "--version", "1"].as_slice(), "SAGA_MOVED_ON"),
    ] {
        let output = desk.saga(args).await?;
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1) && error.contains(code), "{args:?}: {error}");
    }

    desk.provoke("outage", r#"{"seconds":0}"#).await?;
    let all = [
        "retry",
        "--all",
        "--state",
        "stuck",
        "--step",
        "capture-payment",
        "--reason",
        "it is back",
    ];
    let would = desk.done(&[&all[..], &["--dry-run"]].concat()).await?;
    // The dry run finds this saga and reports the command that it would send.
    ensure!(would["sagaId"] == id && would["sent"][0] == "capture-payment/action #1", "{would}");
    let did = desk.done(&all).await?;
    ensure!(did["sagaId"] == id && did["applied"] == true, "{did}");

    audit(&data).await?;
    let shown = desk.done(&["saga", &id]).await?;
    ensure!(shown["saga"]["state"] == "SAGA_STATE_COMPLETED", "{}", shown["saga"]);
    let told = shown["history"].to_string();
    for what in [
        "anonymous paused it: on the phone",
        "anonymous let it go on: settled",
        "anonymous had it retried: it is back",
    ] {
        ensure!(told.contains(what), "{what} is not in {told}");
    }
    system.stop()
}

/// Places an order that an operator pauses before anything is captured. If an order is faster than
/// the operator, tries another one.
async fn held_before_its_capture(desk: &System) -> anyhow::Result<String> {
    desk.provoke("delay", SLOW).await?;
    for _ in 0..10 {
        let placed = ["place", "--customer", "ada", "--item", "teapot=2", "--no-wait"];
        let placed = desk.done(&placed).await?;
        let id = placed["orderId"].as_str().context("accepted")?.to_owned();
        let asked = |saga: &Value| saga["steps"][2]["state"] != "pending";
        desk.until(&id, asked).await?;
        if !desk.saga(&["pause", &id, "--reason", "on the phone"]).await?.status.success() {
            continue;
        }
        let authorised = |saga: &Value| saga["steps"][2]["state"] == "done";
        let held = desk.until(&id, authorised).await?;
        if held["saga"]["steps"][3]["state"] == "pending" {
            return Ok(id);
        }
        desk.done(&["resume", &id, "--reason", "too late"]).await?;
    }
    anyhow::bail!("no order could be held in time")
}

struct System {
    server: String,
    provider: String,
}

impl Desk for System {
    async fn saga(&self, args: &[&str]) -> anyhow::Result<Output> {
        saga(&[args, &["--server", &self.server]].concat()).await
    }

    fn provider(&self) -> String {
        self.provider.clone()
    }
}
