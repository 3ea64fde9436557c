//! Attacks with a stolen broker credential: whoever holds one can speak for its own role only.

use std::time::Duration;

use anyhow::ensure;
use saga_proto::order::v1::OrderStatus;
use saga_test_support::{
    amqp::{Listener, RawMessage, publish},
    eventually,
    shopper::{GOOD_CARD, order, waiting},
};

use crate::{
    audit::Audit,
    system::{ONE_OF_EACH, System, with_system},
};

const LIMIT: Duration = Duration::from_secs(30);
/// No command is sent again while a test looks at its saga's version.
const SETTINGS: [(&str, &str); 1] = [("SAGA_STEP_TIMEOUT_MILLIS", "20000")];

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_its_participant_answers_an_open_step() -> anyhow::Result<()> {
    with_system(ONE_OF_EACH, &SETTINGS, answered_by_others).await
}

async fn answered_by_others(system: &System) -> anyhow::Result<()> {
    system.stock("teapot", 1_000).await?;
    let audit = Audit::open(system).await?;
    // Without the payment service, its step stays open.
    system.kill("payment-1")?;
    let exchange = format!("{}saga.commands", system.prefix());
    let commands = Listener::bind(system.amqp_url(), &exchange, &["payment"]).await?;
    let placed = system.orders()?.place_order(order("k", "teapot", 1, GOOD_CARD)).await?;
    let saga = placed.into_inner().order_id;
    eventually("the command to the payment service", LIMIT, async || {
        commands.take().await.ok().flatten()
    })
    .await;
    let open = version(&audit, &saga).await?;

    // Everything that the credentials of the others allow, and what a credential with too many
    // permissions would allow besides.
    let (replies, queue) = (format!("{}saga.replies", system.prefix()), "orchestrator");
    let ways = [
        (format!("{replies}.inventory"), queue, "inventory"),
        (format!("{replies}.order"), queue, "order"),
        (replies.clone(), queue, "the orchestrator"),
        (String::new(), replies.as_str(), "a stranger"),
    ];
    let mut sent = 0;
    for (exchange, key, _) in &ways {
        for outcome in ["done", "refused", "toolate"] {
            let forged = RawMessage {
                exchange: exchange.clone(),
                key: (*key).to_owned(),
                body: reply(&saga, outcome).into_bytes(),
                persistent: true,
                ..RawMessage::default()
            };
            publish(system.amqp_url(), &[forged]).await?;
            sent += 1;
        }
    }
    eventually("every forgery counted", LIMIT, async || {
        let counted = system.metric("saga_replies_total", "impostor").await.ok()?;
        (counted >= f64::from(sent)).then_some(())
    })
    .await;
    let id = format!("{saga}/authorise-payment/action/reply");
    eventually("the forgeries in the quarantine", LIMIT, async || {
        let kept = "SELECT copies FROM quarantine WHERE id = $1";
        let query = sqlx::query_scalar::<_, i64>(kept).bind(&id);
        query.fetch_optional(&audit.orchestrator).await.ok()?
    })
    .await;
    let reason: String = sqlx::query_scalar("SELECT reason FROM quarantine WHERE id = $1")
        .bind(&id)
        .fetch_one(&audit.orchestrator)
        .await?;
    let named =
        ways.iter().any(|(.., who)| reason.starts_with(&format!("impostor: {who} answers")));
    ensure!(named, "the reason does not name the sender: {reason}");
    let alerts = system.metric("saga_impostor_alerts_total", "").await?;
    ensure!(alerts == ways.len() as f64, "{alerts} alerts, not one for each sender");
    let now = version(&audit, &saga).await?;
    ensure!(now == open, "the saga moved from version {open} to {now}");

    system.start_role("payment-1").await?;
    let request = waiting(order("k", "teapot", 1, GOOD_CARD));
    let ended = system.orders()?.place_order(request).await?.into_inner();
    ensure!(ended.status() == OrderStatus::Confirmed, "{ended:?}");
    audit.safety().await
}

/// Returns the saga's version.
async fn version(audit: &Audit, saga: &str) -> anyhow::Result<i64> {
    let query = sqlx::query_scalar("SELECT version FROM sagas WHERE id::text = $1").bind(saga);
    Ok(query.fetch_one(&audit.orchestrator).await?)
}

fn reply(saga: &str, outcome: &str) -> String {
    let (type_name, data) = match outcome {
        "done" => ("saga.payment.v1.PaymentAuthorisedReply", "{}"),
        "refused" => ("saga.types.v1.Refusal", r#"{"code":"DECLINED","message":"forged"}"#),
        _ => ("saga.types.v1.TooLate", "{}"),
    };
    format!(
        r#"[{{"specversion":"1.0","id":"{saga}/authorise-payment/action","source":"saga/payment","type":"{type_name}","subject":"{saga}","outcome":"{outcome}","definition":"place-order","definitionversion":1,"data":{data}}}]"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_orchestrator_commands_a_participant() -> anyhow::Result<()> {
    with_system(ONE_OF_EACH, &SETTINGS, commanded_by_others).await
}

async fn commanded_by_others(system: &System) -> anyhow::Result<()> {
    system.stock("teapot", 1_000).await?;
    let audit = Audit::open(system).await?;
    let request = waiting(order("k", "teapot", 1, GOOD_CARD));
    let order = system.orders()?.place_order(request).await?.into_inner().order_id;
    let rows = "SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM payments)
                + (SELECT count(*) FROM refunds)";
    let before: i64 = sqlx::query_scalar(rows).fetch_one(&audit.payment).await?;

    // A refund of an order that nobody returns, with a watermark of now: by the default exchange,
    // straight into the queue. The broker's permissions refuse that to every role.
    let saga = uuid::Uuid::now_v7();
    let refund = format!(
        r#"[{{"specversion":"1.0","id":"{saga}/refund-payment/action","source":"saga/orchestrator","type":"saga.payment.v1.RefundPayment","subject":"{saga}","attempt":1,"sequence":"0001","definition":"return-order","definitionversion":1,"watermark":"{saga}","data":{{"orderId":"{order}","amount":{{"minorUnits":"1","currency":"EUR"}}}}}}]"#
    );
    let forged = RawMessage {
        key: format!("{}saga.commands.payment", system.prefix()),
        body: refund.into_bytes(),
        reply_to: Some("orchestrator".to_owned()),
        persistent: true,
        ..RawMessage::default()
    };
    publish(system.amqp_url(), &[forged.clone(), forged]).await?;
    let kept = "SELECT from_queue, reason FROM quarantine WHERE reason LIKE 'impostor: %'";
    let (from, reason): (String, String) = eventually("the forgery's row", LIMIT, async || {
        sqlx::query_as(kept).fetch_optional(&audit.orchestrator).await.ok()?
    })
    .await;
    ensure!(from.ends_with("saga.commands.payment"), "{from}");
    ensure!(reason == "impostor: a stranger commands payment", "{reason}");
    eventually("both counted, and one alert", LIMIT, async || {
        let counted = "saga_participant_commands_total";
        let found = system.metric_of("payment-1", counted, "impostor").await.ok()?;
        let alerts = system.metric_of("payment-1", "saga_impostor_alerts_total", "").await.ok()?;
        (found == 2.0 && alerts == 1.0).then_some(())
    })
    .await;
    let after: i64 = sqlx::query_scalar(rows).fetch_one(&audit.payment).await?;
    ensure!(after == before, "{before} rows before, {after} after");
    let request = waiting(self::order("after", "teapot", 1, GOOD_CARD));
    let ended = system.orders()?.place_order(request).await?.into_inner();
    ensure!(ended.status() == OrderStatus::Confirmed, "the watermark was believed: {ended:?}");
    audit.safety().await
}
