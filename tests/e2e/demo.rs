//! `saga demo --server` against a running system.

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::system::{ONE_OF_EACH, System, with_system};

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_plays_on_a_system_that_runs_and_takes_its_own_roles_with_it() -> anyhow::Result<()>
{
    with_system(ONE_OF_EACH, &[], demo).await
}

async fn demo(system: &System) -> anyhow::Result<()> {
    let (server, provider) = (system.address("orchestrator-1"), system.address("provider"));
    let (orchestrator, payment) = (joining(system, "orchestrator")?, joining(system, "payment")?);
    let scenario = [
        "demo",
        "--orders=200",
        "--seed=3",
        "--json",
        &format!("--server={server}"),
        &format!("--provider={provider}"),
        &format!("--orchestrator={orchestrator}"),
        &format!("--payment={payment}"),
    ];
    let output = system.output(&scenario).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    ensure!(output.status.success(), "{stdout}{stderr}");
    let summary: Value = serde_json::from_str(stdout.lines().last().context("a summary")?)?;
    let count = |name: &str| summary[name].as_u64().unwrap_or_default();
    ensure!(summary["audit"] == "PASS" && count("orders") == 200, "{summary}");
    ensure!(count("confirmed") > 100 && count("rejected") > 10, "{summary}");
    ensure!(count("returned") > 0, "{summary}");
    for told in [
        "On a system that runs",
        "the orchestrator is killed",
        "the orchestrator is started again",
        "answers 503",
        "the payment service is killed",
        "An order that went through",
        "undone in reverse",
        "asked about again",
    ] {
        ensure!(stderr.contains(told), "nothing of {told:?} in:\n{stderr}");
    }
    // The roles that the demo started have ended with it, and the others still serve.
    let clients =
        stderr.lines().find(|line| line.starts_with("Clients: ")).context("no servers")?;
    let own = clients.rsplit("http://").next().and_then(|rest| rest.split(' ').next());
    let own = own.context("no server of its own")?;
    ensure!(!server.ends_with(own), "{clients}");
    ensure!(tokio::net::TcpStream::connect(own).await.is_err(), "{own} serves on");
    system.run(&["place", "--customer", "alice", "--item", "teapot=1"]).await?;
    refusals(system, &server).await
}

/// Checks that the demo reports wrong arguments before it places an order.
async fn refusals(system: &System, server: &str) -> anyhow::Result<()> {
    let alone = system.output(&["demo", "--server", server]).await?;
    ensure!(alone.status.code() == Some(64), "{alone:?}");
    let dead = ["demo", "--server", server, "--provider", server, "--payment", "exit 3"];
    let dead = system.output(&[&dead[..], &["--orchestrator", "exit 3"]].concat()).await?;
    let told = String::from_utf8_lossy(&dead.stderr);
    ensure!(dead.status.code() == Some(1) && told.contains("ended while"), "{dead:?}");
    Ok(())
}

/// Returns a shell command that starts one more process of a role, with that role's settings.
fn joining(system: &System, role: &str) -> anyhow::Result<String> {
    let (mut command, binary) = ("env".to_owned(), env!("CARGO_BIN_EXE_saga"));
    for (name, value) in &system.role(&format!("{role}-1"))?.launch.env {
        // The demo chooses the address itself.
        if !name.ends_with("_LISTEN") {
            command.push_str(&format!(" {name}='{value}'"));
        }
    }
    Ok(format!("{command} {binary} {role}"))
}
