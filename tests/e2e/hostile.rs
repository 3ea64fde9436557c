//! Foreign and damaged messages: each ends in the quarantine or in a counter, and everything else
//! goes on.

use std::time::Duration;

use saga_proto::order::v1::OrderStatus;
use saga_test_support::{
    amqp::{RawMessage, publish},
    eventually,
    shopper::{GOOD_CARD, order, waiting},
};
use uuid::Uuid;

use crate::{
    audit::Audit,
    system::{ONE_OF_EACH, System, with_system},
};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn poison_reaches_the_quarantine_and_everything_else_goes_on() -> anyhow::Result<()> {
    with_system(ONE_OF_EACH, &[], poison).await
}

fn event(id: &str, type_name: &str, data: &str) -> String {
    let subject = id.split('/').next().unwrap_or_default();
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"stranger","type":"{type_name}","subject":"{subject}","attempt":1,"sequence":"0002","definition":"place-order","definitionversion":1,"data":{data}}}"#
    )
}

fn command(system: &System, key: &str, body: impl Into<Vec<u8>>) -> RawMessage {
    RawMessage {
        exchange: format!("{}saga.commands", system.prefix()),
        key: key.to_owned(),
        body: body.into(),
        reply_to: Some("orchestrator".to_owned()),
        persistent: true,
        ..RawMessage::default()
    }
}

fn reply(system: &System, body: impl Into<Vec<u8>>) -> RawMessage {
    RawMessage {
        exchange: format!("{}saga.replies.payment", system.prefix()),
        key: "orchestrator".to_owned(),
        body: body.into(),
        persistent: true,
        ..RawMessage::default()
    }
}

async fn poison(system: &System) -> anyhow::Result<()> {
    system.stock("teapot", 1_000).await?;
    let ended = place(system, "before").await?;
    let audit = Audit::open(system).await?;

    let unknown_type = format!("{}/reserve-stock/action", Uuid::new_v4());
    let no_command = format!("{}/reserve-stock/action", Uuid::new_v4());
    let good = format!("{}/reserve-stock/action", Uuid::new_v4());
    let wrong_direction = format!("{}/reserve-stock/compensation", Uuid::new_v4());
    let reserve = "saga.inventory.v1.ReserveStock";
    let lines = r#"{"lines":[{"sku":"teapot","quantity":"1"}]}"#;
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let parcel_with_one_poison = format!(
        "[{},{},{}]",
        event(&good, reserve, lines),
        event(&unknown_type, "saga.inventory.v1.BurnStock", "{}"),
        r#"{"specversion":"1.0"}"#,
    );
    publish(
        system.amqp_url(),
        &[
            command(system, "inventory", parcel_with_one_poison),
            command(system, "inventory", "this is no JSON"),
            command(system, "inventory", Vec::new()),
            command(system, "inventory", [0xff, 0xfe, 0x00]),
            command(system, "inventory", format!("[{}]", event(&no_command, reserve, &deep))),
            command(system, "inventory", format!("[{}]", event(&wrong_direction, reserve, lines))),
            // Forged replies: to a saga that does not exist, and to one that has ended.
            reply(system, format!("[{}]", forged(&Uuid::new_v4().to_string()))),
            reply(system, format!("[{}]", forged(&ended))),
            reply(system, "neither is this"),
        ],
    )
    .await?;

    for (what, id) in [
        ("unknown type", &unknown_type),
        ("wrong data", &no_command),
        ("direction", &wrong_direction),
    ] {
        eventually(&format!("{what} in the quarantine"), LIMIT, async || {
            let found: Option<String> =
                sqlx::query_scalar("SELECT reason FROM quarantine WHERE id = $1")
                    .bind(id)
                    .fetch_optional(&audit.orchestrator)
                    .await
                    .ok()?;
            found
        })
        .await;
    }
    // Not JSON, empty, not UTF-8, a member without an id, and the body that is not a reply.
    eventually("five bodies without an id in the quarantine", LIMIT, async || {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM quarantine WHERE id NOT LIKE '%/%'")
                .fetch_one(&audit.orchestrator)
                .await
                .ok()?;
        (count >= 5).then_some(count)
    })
    .await;
    // The sound member of the poisoned parcel was handled: its stock is reserved.
    eventually("the good member's reservation", LIMIT, async || {
        let saga = good.split('/').next().and_then(|id| Uuid::parse_str(id).ok());
        let found: Option<i64> =
            sqlx::query_scalar("SELECT quantity FROM reservations WHERE saga_id = $1")
                .bind(saga)
                .fetch_optional(&audit.inventory)
                .await
                .ok()?;
        found
    })
    .await;
    for (label, least) in [("unknown saga", 1.0), ("foreign", 1.0)] {
        eventually(&format!("a reply counted as {label}"), LIMIT, async || {
            let count = system.metric("saga_replies_total", label).await.ok()?;
            (count >= least).then_some(count)
        })
        .await;
    }
    place(system, "after").await?;
    audit.safety().await
}

/// Creates a reply to a command that was never sent.
fn forged(saga: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{saga}/capture-payment/compensation","source":"stranger","type":"saga.payment.v1.PaymentCapturedReply","subject":"{saga}","outcome":"done","definition":"place-order","definitionversion":1,"data":{{}}}}"#
    )
}

/// Places an order, waits for its confirmation and returns its id.
async fn place(system: &System, key: &str) -> anyhow::Result<String> {
    let request = waiting(order(key, "teapot", 1, GOOD_CARD));
    let placed = system.orders()?.place_order(request).await?.into_inner();
    anyhow::ensure!(placed.status() == OrderStatus::Confirmed, "{placed:?}");
    Ok(placed.order_id)
}
