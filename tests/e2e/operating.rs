//! The operators' commands over real servers: a participant or the provider is down until sagas
//! are stuck. The commands of `saga` find these sagas and bring them to their ends, and the audit
//! passes.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use saga_operations::v1::SagaStuck;
use saga_test_support::{
    amqp::{Listener, RawMessage, publish, purge},
    desk::Desk as _,
    eventually,
};
use serde_json::{Value, json, value::RawValue};

use crate::{
    audit::Audit,
    system::{ONE_OF_EACH, System, with_system},
};

/// Time until an unanswered command makes its saga stuck: twenty attempts at this test's pace.
const STUCK_WITHIN: Duration = Duration::from_secs(120);
/// Time until both compensations were sent at least once.
const LISTENS_FOR: Duration = Duration::from_secs(60);

const SETTINGS: [(&str, &str); 2] = [
    ("SAGA_STEP_TIMEOUT_MILLIS", "60"),
    // The time that a hold takes: long enough for an operator to pause the order meanwhile.
    ("SAGA_PROVIDER_SLOW_MILLIS", "1200"),
];

#[tokio::test(flavor = "multi_thread")]
async fn orders_whose_payment_is_away_are_found_tried_dry_retried_and_compensated()
-> anyhow::Result<()> {
    with_system(ONE_OF_EACH, &SETTINGS, payment_away).await
}

async fn payment_away(system: &System) -> anyhow::Result<()> {
    system.stock("teapot", 1_000).await?;
    compensated_by_filter(system).await?;

    let url = system.amqp_url();
    let events = format!("{}shop.events", system.prefix());
    let alerts = Listener::bind(url, &events, &["saga.stuck"]).await?;
    let id = held_before_its_capture(system, "stuck").await?;
    system.kill("payment-1")?;
    system.done(&["resume", &id, "--reason", "settled"]).await?;

    let found = needs_me(system, &id, "capture-payment/action").await?;
    ensure!(found["needs"] == "stuck", "{found}");
    ensure!(found["why"] == "capture-payment was not answered within its bound", "{found}");
    let listed = system.run(&["sagas", "--needs-me"]).await?;
    ensure!(listed.contains(&id) && listed.contains("NEEDS"), "{listed}");
    is_told_of(&alerts, &id).await?;

    let version = found["version"].as_str().context("a version")?.to_owned();
    let retry = ["retry", &id, "--version", &version, "--reason", "payment is back"];
    let would = system.done(&[&retry[..], &["--dry-run"]].concat()).await?;
    ensure!(would["dryRun"] == true && would["sent"] == json!(["capture-payment/action #1"]));
    let after = system.done(&["saga", &id]).await?;
    ensure!(after["saga"]["version"] == version.as_str(), "a dry run did something: {after}");

    // The old commands in this queue would be answered before the operator does anything.
    purge(url, &format!("{}saga.commands.payment", system.prefix())).await?;
    system.start_role("payment-1").await?;
    system.done(&retry).await?;
    let ended = ended(system, &id).await?;
    ensure!(ended["saga"]["state"] == "SAGA_STATE_COMPLETED", "{ended}");
    history_tells(
        &ended,
        &[
            "anonymous paused it: on the phone",
            "anonymous let it go on: settled",
            "anonymous had it retried: payment is back",
        ],
    )?;
    audited(system).await
}

/// Checks that the event of the stuck saga agrees with the operators' list.
async fn is_told_of(alerts: &Listener, id: &str) -> anyhow::Result<()> {
    let message = eventually("the event of the stuck saga", STUCK_WITHIN, async || {
        alerts.take().await.expect("the broker is there")
    })
    .await;
    let event: Value = serde_json::from_slice(&message.body)?;
    let told: SagaStuck = serde_json::from_value(event["data"].clone())?;
    ensure!(message.key == "saga.stuck" && event["type"] == "saga.operations.v1.SagaStuck");
    ensure!(event["subject"] == id && event.get("sequence").is_none(), "{event}");
    ensure!(event["id"] == format!("{id}/stuck/{}", told.version), "{event}");
    ensure!(told.saga_id == id && told.business_id == id, "{told:?}");
    ensure!((told.definition.as_str(), told.definition_version) == ("place-order", 2), "{told:?}");
    let at = (told.step.as_str(), told.direction.as_str());
    ensure!(at == ("capture-payment", "action") && told.alert == 1, "{told:?}");
    ensure!(told.reason_code == "UNANSWERED" && told.since_micros > 0, "{told:?}");
    ensure!(told.why == "capture-payment was not answered within its bound", "{told:?}");
    Ok(())
}

/// Checks three sagas: one of a version that no server hosts, one with damaged data, and a sound
/// one. The list shows what each needs, and a remedy for all changes only the sound one.
async fn what_nobody_can_decide_on_is_shown_and_left_alone(
    system: &System,
    held: &[String],
) -> anyhow::Result<()> {
    let orchestrator = Audit::open(system).await?.orchestrator;
    let set = async |saga: &str, column: &str, to: &str| {
        let sql = format!("UPDATE sagas SET {column} = {to} WHERE id = '{saga}'");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&orchestrator).await
    };
    set(&held[0], "definition_version", "99").await?;
    set(&held[1], "data", "'{\"was\": ' || data || '}'").await?;

    let page = system.done(&["sagas", "--needs-me"]).await?;
    for (id, needs, why) in [
        (&held[0], "unhosted", "this server does not host its definition in that version"),
        (&held[1], "undecidable", "it cannot be decided on: the data of saga"),
        (&held[2], "paused", "paused by anonymous: on the phone"),
    ] {
        let listed = page["sagas"].as_array().context("a list")?.iter();
        let saga = listed.clone().find(|saga| saga["sagaId"] == id.as_str());
        let saga = saga.with_context(|| format!("{id} is not listed: {page}"))?;
        ensure!(saga["needs"] == needs, "{saga}");
        ensure!(saga["why"].as_str().unwrap_or_default().starts_with(why), "{saga}");
    }
    let all = ["compensate", "--all", "--needs-me", "--dry-run", "--reason", "would it work?"];
    let told = system.output(&[&all[..], &["--json"]].concat()).await?;
    let told = String::from_utf8(told.stdout)?;
    for what in ["this server does not host", "it cannot be decided on", "\"applied\": true"] {
        ensure!(told.replace("\":true", "\": true").contains(what), "{what:?} is not in {told}");
    }
    set(&held[0], "definition_version", "2").await?;
    set(&held[1], "data", "(data::json -> 'was')::text").await?;
    Ok(())
}

/// Compensates several sagas at once, but only those that the filter matches.
async fn compensated_by_filter(system: &System) -> anyhow::Result<()> {
    let mut held = Vec::new();
    for key in ["first", "second", "third"] {
        held.push(held_before_its_capture(system, key).await?);
    }
    what_nobody_can_decide_on_is_shown_and_left_alone(system, &held).await?;
    let free = &held[2];
    system.done(&["resume", free, "--reason", "let it go"]).await?;
    ensure!(ended(system, free).await?["saga"]["state"] == "SAGA_STATE_COMPLETED");

    let all = ["compensate", "--all", "--paused", "--definition", "place-order"];
    let all = [&all[..], &["--reason", "the teapots leak"]].concat();
    for dry in [true, false] {
        let args = if dry { [&all[..], &["--dry-run"]].concat() } else { all.clone() };
        let mut picked = Vec::new();
        for update in system.said(&args).await?.iter().filter(|it| it["sagaId"].is_string()) {
            ensure!(update["applied"] == true, "{update}");
            picked.push(update["sagaId"].as_str().unwrap_or_default().to_owned());
        }
        picked.sort();
        ensure!(picked == held[..2], "{picked:?} instead of {:?}", &held[..2]);
        let state = system.done(&["saga", &held[0]]).await?["saga"]["state"].clone();
        let due = if dry { "SAGA_STATE_RUNNING" } else { "SAGA_STATE_COMPENSATING" };
        ensure!(state == due, "{state} instead of {due}");
    }
    for id in &held[..2] {
        system.done(&["resume", id, "--reason", "undo it"]).await?;
        let ended = ended(system, id).await?;
        ensure!(ended["saga"]["state"] == "SAGA_STATE_COMPENSATED", "{ended}");
        history_tells(&ended, &["anonymous had it undone: the teapots leak"])?;
    }
    let because = system.done(&["sagas", "--because", "OPERATOR"]).await?;
    let listed = because["sagas"].as_array().context("a list")?;
    let mut listed: Vec<&str> = listed.iter().filter_map(|saga| saga["sagaId"].as_str()).collect();
    listed.sort_unstable();
    ensure!(listed == held[..2], "{listed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_void_that_fails_is_resolved_and_a_release_skipped_by_hand() -> anyhow::Result<()> {
    with_system(ONE_OF_EACH, &SETTINGS, by_hand).await
}

async fn by_hand(system: &System) -> anyhow::Result<()> {
    system.stock("teapot", 1_000).await?;
    let url = system.amqp_url();
    let exchange = format!("{}saga.commands", system.prefix());
    let commands = Listener::bind(url, &exchange, &["payment", "inventory"]).await?;
    // Copies of commands expire soon, so they are taken as they come.
    let heard = tokio::spawn(async move {
        let mut heard = Vec::new();
        let until = tokio::time::Instant::now() + LISTENS_FOR;
        while tokio::time::Instant::now() < until {
            match commands.take().await? {
                Some(message) => heard.push(message),
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        anyhow::Ok(heard)
    });
    let id = held_before_its_capture(system, "undone").await?;
    system.provoke("outage", r#"{"seconds":600}"#).await?;
    system.kill("inventory-1")?;
    system.done(&["compensate", &id, "--reason", "the customer gave up"]).await?;
    system.done(&["resume", &id, "--reason", "undo it"]).await?;

    // The first undo is stuck because the provider does not answer the void.
    let found = needs_me(system, &id, "authorise-payment/compensation").await?;
    let why = found["why"].as_str().unwrap_or_default();
    ensure!(why.starts_with("undoing authorise-payment was not answered within"), "{why}");
    let resolve = ["resolve", &id, "authorise-payment", "--compensation", "--done"];
    let resolve = [&resolve[..], &["--reason", "voided at the provider's desk"]].concat();
    let would = system.done(&[&resolve[..], &["--dry-run"]].concat()).await?;
    ensure!(would["sent"] == json!(["reserve-stock/compensation #1"]), "{would}");
    system.done(&resolve).await?;

    // The second undo is stuck because no inventory is running to take the goods back.
    needs_me(system, &id, "reserve-stock/compensation").await?;
    system.done(&["skip", &id, "--reason", "counted on the shelf"]).await?;
    let ended = ended(system, &id).await?;
    ensure!(ended["saga"]["state"] == "SAGA_STATE_COMPENSATED", "{ended}");
    history_tells(
        &ended,
        &[
            "anonymous had it undone: the customer gave up",
            "anonymous stated that authorise-payment is undone: voided at the provider's desk",
            "anonymous skipped reserve-stock, which counts as undone: counted on the shelf",
        ],
    )?;

    // Nothing was undone, the operator has only stated it, so the audit fails.
    let report = system.output(&["audit"]).await?;
    ensure!(!report.status.success(), "nothing was undone: {report:?}");
    // The test makes the statement true: it sends the same commands once more.
    system.provoke("outage", r#"{"seconds":0}"#).await?;
    system.start_role("inventory-1").await?;
    let mut wanted = ["authorise-payment", "reserve-stock"]
        .map(|step| format!("{id}/{step}/compensation"))
        .to_vec();
    for message in heard.await?? {
        let parcel: Vec<&RawValue> = serde_json::from_slice(&message.body)?;
        for command in parcel {
            let read: Value = serde_json::from_str(command.get())?;
            let Some(at) = wanted.iter().position(|id| read["id"] == id.as_str()) else { continue };
            wanted.swap_remove(at);
            let body = format!("[{}]", command.get()).into_bytes();
            let (headers, expiration) = Default::default();
            let again = RawMessage { body, headers, expiration, ..message.clone() };
            publish(url, &[again]).await?;
        }
    }
    ensure!(wanted.is_empty(), "{wanted:?} were not heard");
    audited(system).await
}

async fn audited(system: &System) -> anyhow::Result<()> {
    // A participant may still be working for a saga that has ended, so the audit is tried again.
    let deadline = tokio::time::Instant::now() + STUCK_WITHIN;
    loop {
        let report = system.output(&["audit", "--wait", "60"]).await?;
        if report.status.success() {
            break;
        }
        ensure!(tokio::time::Instant::now() < deadline, "{report:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let left = system.done(&["sagas", "--needs-me"]).await?;
    ensure!(left["sagas"] == json!([]) && left["quarantined"] == "0", "{left}");
    Ok(())
}

/// Places an order that an operator pauses while its card is being authorised, before anything is
/// captured.
async fn held_before_its_capture(system: &System, key: &str) -> anyhow::Result<String> {
    let place = ["place", "--customer", "ada", "--item", "teapot=2", "--token", "tok_slow"];
    let placed = system.done(&[&place[..], &["--no-wait", "--key", key]].concat()).await?;
    let id = placed["orderId"].as_str().context("accepted")?.to_owned();
    system.until(&id, |saga| saga["steps"][2]["state"] == "open").await?;
    // The pause fails if the saga sends a command again between the operator's look and the pause.
    while let Err(error) = system.done(&["pause", &id, "--reason", "on the phone"]).await {
        ensure!(format!("{error:#}").contains("SAGA_MOVED_ON"), "{error:#}");
    }
    let held = system.until(&id, |saga| saga["steps"][2]["state"] == "done").await?;
    ensure!(held["saga"]["steps"][3]["state"] == "pending", "{held}");
    ensure!(held["saga"]["needs"] == "paused", "{held}");
    Ok(id)
}

async fn ended(system: &System, id: &str) -> anyhow::Result<Value> {
    let is_end = |saga: &Value| {
        saga["state"] == "SAGA_STATE_COMPLETED" || saga["state"] == "SAGA_STATE_COMPENSATED"
    };
    system.until(id, is_end).await
}

/// Waits until the saga is stuck at this command and returns its entry in the operators' list.
async fn needs_me(system: &System, id: &str, at: &str) -> anyhow::Result<Value> {
    system.needs_me(|saga| saga["sagaId"] == id && saga["stuckAt"] == at).await
}

fn history_tells(saga: &Value, sentences: &[&str]) -> anyhow::Result<()> {
    let history = saga["history"].to_string();
    for sentence in sentences {
        ensure!(history.contains(sentence), "{sentence:?} is not in {history}");
    }
    Ok(())
}
