//! `saga demo`, run as a newcomer and as a program would run it.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::system::{audit, saga};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_ends_with_an_audit_that_passes() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let shown = data.display().to_string();
    let output =
        saga(&["demo", "--orders", "200", "--seed", "3", "--data-dir", &shown, "--json"]).await?;
    let (stdout, stderr) = texts(&output);
    ensure!(output.status.success(), "{stdout}{stderr}");
    let summary: Value = serde_json::from_str(stdout.lines().last().context("a summary")?)?;
    ensure!(summary["audit"] == "PASS" && summary["orders"] == 200, "{summary}");
    let count = |name: &str| summary[name].as_u64().unwrap_or_default();
    let (confirmed, rejected, cancelled) =
        (count("confirmed"), count("rejected"), count("cancelled"));
    ensure!(confirmed + rejected + cancelled == 200, "{summary}");
    ensure!(confirmed > 100 && rejected > 10 && cancelled > 0, "{summary}");
    ensure!(count("returned") > 0, "{summary}");
    // The report names the faults and tells the three stories.
    for told in [
        "the orchestrator is killed",
        "the orchestrator is started again",
        "answers 503",
        "the payment service is killed",
        "An order that went through",
        "undone in reverse",
        "asked about again",
        "-payment/action #2",
    ] {
        ensure!(stderr.contains(told), "nothing of {told:?} in:\n{stderr}");
    }
    // Without a terminal there are no control codes.
    ensure!(!stderr.contains('\u{1b}') && !stderr.contains('\r'), "{stderr:?}");
    audit(&data).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_reads_well_in_a_pipe() -> anyhow::Result<()> {
    let output = saga(&["demo", "--orders", "60"]).await?;
    let (stdout, stderr) = texts(&output);
    ensure!(output.status.success(), "{stdout}{stderr}");
    ensure!(!stdout.contains('\u{1b}') && !stdout.contains('\r'), "{stdout:?}");
    ensure!(stdout.contains("60/60 ended") && stdout.contains("PASS"), "{stdout}");
    ensure!(!stdout.contains("FAIL"), "{stdout}");
    // The audit fits on a screen: it has one line for each group of equations.
    let (_, audit) = stdout.split_once("== The audit").context("an audit")?;
    ensure!(audit.lines().count() < 15 && audit.contains("sagas       8 of 8 hold"), "{audit}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_options_are_refused() -> anyhow::Result<()> {
    for wrong in [["demo", "--orders", "0"], ["demo", "--seed", "-1"]] {
        let output = saga(&wrong).await?;
        ensure!(output.status.code() == Some(64), "{wrong:?}: {output:?}");
    }
    Ok(())
}

fn texts(output: &std::process::Output) -> (String, String) {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
