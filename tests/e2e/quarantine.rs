//! The operators' quarantine commands over Postgres and RabbitMQ: an inventory of an older version
//! cannot handle a command. Once the new version runs, an operator sends the command again.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use saga_test_support::{
    amqp::{Listener, RawMessage, delete_queue, publish},
    desk::Desk as _,
    eventually,
    shopper::{GOOD_CARD, order},
};

use crate::system::{ONE_OF_EACH, System, with_system};

const LIMIT: Duration = Duration::from_secs(30);
/// A time-out longer than the test, so that only the operator sends a command again.
const STEP_TIMEOUT: &str = "100000";

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_could_not_be_handled_is_re_driven_once_it_can_be() -> anyhow::Result<()> {
    let settings = [("SAGA_STEP_TIMEOUT_MILLIS", STEP_TIMEOUT)];
    with_system(ONE_OF_EACH, &settings, at_the_desk).await
}

async fn at_the_desk(system: &System) -> anyhow::Result<()> {
    system.stock("teapot", 10).await?;
    let (url, prefix) = (system.amqp_url(), system.prefix());
    system.kill("inventory-1")?;
    let old = Listener::bind(url, &format!("{prefix}saga.commands"), &["inventory"]).await?;
    delete_queue(url, &format!("{prefix}saga.commands.inventory")).await?;
    let request = order("k", "teapot", 1, GOOD_CARD);
    let order = system.orders()?.place_order(request).await?.into_inner().order_id;
    let command = format!("{order}/reserve-stock/action");
    let taken = eventually("the command", LIMIT, async || old.take().await.ok().flatten()).await;
    let headers = [("saga-reason", "unknown type"), ("saga-from", "another's")];
    let poison = |id: &str, body: Vec<u8>| RawMessage {
        exchange: format!("{prefix}saga.quarantine.inventory"),
        body,
        message_id: Some(id.to_owned()),
        reply_to: taken.reply_to.clone(),
        persistent: true,
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..RawMessage::default()
    };
    let garbage = b"paymentToken tok_secret".to_vec();
    publish(url, &[poison(&command, taken.body.clone()), poison("stranger", garbage)]).await?;

    let two = eventually("both in the list", LIMIT, async || {
        let page = system.done(&["quarantine", "--needs-me"]).await.ok()?;
        (page["messages"].as_array()?.len() == 2).then_some(page)
    })
    .await;
    ensure!(two["messages"][0]["reason"] == "unknown type", "{two}");
    let inside = system.done(&["quarantine", &command]).await?;
    let body = inside["body"].as_str().context("it is JSON")?;
    ensure!(body.contains("saga.inventory.v1.ReserveStock"), "{inside}");
    let inside = system.run(&["quarantine", "stranger"]).await?;
    ensure!(!inside.contains("tok_secret") && inside.contains("no JSON"), "{inside}");

    // The new version runs, but the command does not come to it by itself.
    drop(old);
    system.start_role("inventory-1").await?;
    let redrive = ["quarantine", "re-drive", &command, "--reason", "the new version is out"];
    let would = system.done(&[&redrive[..], &["--dry-run"]].concat()).await?;
    ensure!(would["sent"][0] == "reserve-stock/action #1", "{would}");
    ensure!(state(system, &order).await? == "SAGA_STATE_RUNNING", "a dry run has sent");
    let did = system.done(&redrive).await?;
    ensure!(did["message"]["state"] == "QUARANTINE_STATE_REDRIVEN", "{did}");
    eventually("the order's end", LIMIT, async || {
        let ended = state(system, &order).await.ok()? == "SAGA_STATE_COMPLETED";
        ended.then_some(())
    })
    .await;
    let again = system.done(&redrive).await?;
    ensure!(again["repeated"] == true, "{again}");
    let history = system.done(&["saga", &order]).await?["history"].to_string();
    ensure!(history.matches("is re-driven from the quarantine: the new").count() == 1, "{history}");

    let refused = ["quarantine", "re-drive", "stranger", "--reason", "no", "--json"];
    let refused = system.output(&refused).await?;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(1) && why.contains("names no command"), "{why}");
    system.done(&["quarantine", "discard", "stranger", "--reason", "a stranger"]).await?;
    let open = system.done(&["quarantine", "--needs-me"]).await?;
    ensure!(open["messages"].as_array().is_none_or(Vec::is_empty), "{open}");
    let report = system.run(&["audit", "--wait", "60"]).await?;
    ensure!(report.contains("audit: PASS"), "{report}");
    Ok(())
}

async fn state(system: &System, saga: &str) -> anyhow::Result<String> {
    let shown = system.done(&["saga", saga]).await?;
    Ok(shown["saga"]["state"].as_str().unwrap_or_default().to_owned())
}
