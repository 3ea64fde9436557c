//! Compares docs/messages.md with the messages on the wire: the test makes a real system send every
//! kind of message and renders the document from them. It fails if the document has a message that
//! was not seen, or lacks one that was. The kinds that must be seen come from the contract
//! (`saga_proto::COMMANDS`, `EVENTS`) and from the fields in the `.proto` files.
//!
//! `UPDATE_EXPECT=1` rewrites the document. A new command needs only one line here, in
//! [`provoke`], that makes the system send it.

mod book;
mod page;
mod topology;
mod wire;

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use saga_proto::{
    order::v1::OrderStatus,
    shop::v1::{CancelOrderRequest, PlaceOrderRequest, ReturnOrderRequest, ReturnStatus},
    types::v1::{Line, Money},
};
use saga_test_support::{
    amqp::{RawMessage, publish},
    eventually,
    shopper::{order, waiting},
};
use serde_json::{Value, json};
use tonic::Request;
use uuid::Uuid;

use self::{book::Book, wire::Wire};
use crate::system::{ONE_OF_EACH, System, with_system};

const LIMIT: Duration = Duration::from_secs(60);
/// The trace id of every message.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
/// The `reply_to` of this test's own commands, under which their answers are published.
const STRANGER: &str = "stranger";
/// A message body that is not JSON.
const POISON: &str = "this is no JSON";

#[tokio::test(flavor = "multi_thread")]
async fn the_document_of_the_messages_says_what_is_on_the_wire() -> anyhow::Result<()> {
    let settings = [
        // The time-out of a deployment, so that the messages expire as they do there.
        ("SAGA_STEP_TIMEOUT_MILLIS", "3000"),
        // Long enough to cancel an order meanwhile, and shorter than the step time-out.
        ("SAGA_PROVIDER_SLOW_MILLIS", "2000"),
    ];
    with_system(ONE_OF_EACH, &settings, all).await
}

async fn all(system: &System) -> anyhow::Result<()> {
    topology::is_as_documented(system).await?;
    let wire = Wire::tap(system).await?;
    provoke(system, &wire).await?;
    let book = Book::of(&wire)?;
    book.is_complete()?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/messages.md");
    let written = std::fs::read_to_string(&path)?;
    let (head, _) = written.split_once(page::BEGINS).context("the head of the document ends")?;
    expect_test::expect_file![path].assert_eq(&page::render(head, &book)?);
    Ok(())
}

/// Makes the system send every kind of message, one after the other.
async fn provoke(system: &System, wire: &Wire) -> anyhow::Result<()> {
    system.stock("teapot", 10).await?;
    let confirmed = place(system, "tok_approved", "teapot", 2, Some(2_500)).await?;
    ensure!(confirmed.0 == OrderStatus::Confirmed, "{confirmed:?}");
    for (token, sku, quantity, expected, code) in [
        ("tok_approved", "teapot", 99, None, "OUT_OF_STOCK"),
        ("tok_approved", "samovar", 1, None, "UNKNOWN_SKU"),
        ("tok_approved", "teapot", 1, Some(1_000), "PRICE_CHANGED"),
        ("tok_declined", "teapot", 1, None, "CARD_DECLINED"),
        ("tok_insufficient_funds", "teapot", 1, None, "INSUFFICIENT_FUNDS"),
        ("tok_capture_declined", "teapot", 1, None, "CAPTURE_DECLINED"),
    ] {
        let (status, why, _) = place(system, token, sku, quantity, expected).await?;
        ensure!(status == OrderStatus::Rejected && why == code, "{token} {sku}: {status:?} {why}");
    }
    cancel(system).await?;
    get_stuck(system, wire).await?;
    give_back(system, wire).await?;
    refund(system, wire, &confirmed.2).await?;
    every_command_once_more(system, wire).await?;
    every_action_after_its_compensation(system, wire).await?;
    poison(system, wire).await
}

/// Places an order and waits for its end. Returns its status, the reason and its id.
async fn place(
    system: &System,
    token: &str,
    sku: &str,
    quantity: i64,
    expected: Option<i64>,
) -> anyhow::Result<(OrderStatus, String, String)> {
    let key = format!("{token} {sku} {quantity} {expected:?}");
    let request = traced(PlaceOrderRequest {
        expected_total: expected.map(|cents| Money::new(cents, "EUR")),
        ..waiting(order(&key, sku, quantity, token))
    })?;
    let placed = system.orders()?.place_order(request).await?.into_inner();
    Ok((placed.status(), placed.reason_code, placed.order_id))
}

async fn cancel(system: &System) -> anyhow::Result<()> {
    let request = traced(order("cancelled", "teapot", 1, "tok_slow"))?;
    let order_id = system.orders()?.place_order(request).await?.into_inner().order_id;
    let reason = "changed my mind".to_owned();
    system.orders()?.cancel_order(CancelOrderRequest { order_id, reason }).await?;
    Ok(())
}

/// Releases an order's goods while its card is being authorised. They cannot be sold then, and the
/// saga is stuck.
async fn get_stuck(system: &System, wire: &Wire) -> anyhow::Result<()> {
    let request = traced(order("stuck", "teapot", 1, "tok_slow"))?;
    let order = system.orders()?.place_order(request).await?.into_inner().order_id;
    let reserve = json!(format!("{order}/reserve-stock/action"));
    wire.answer(&reserve, false, 0).await;
    let id = format!("{order}/reserve-stock/compensation");
    let release = command(&id, "saga.inventory.v1.ReleaseStock", "place-order", json!({}));
    ensure!(ask(system, wire, release).await?["outcome"] == "done");
    let commit = json!(format!("{order}/commit-stock/action"));
    let refused = wire.answer(&commit, false, 0).await;
    ensure!(refused["outcome"] == "refused", "{refused}");
    eventually("the event of a stuck saga", LIMIT, async || wire.told(&order)).await;
    Ok(())
}

fn traced<T>(message: T) -> anyhow::Result<Request<T>> {
    let mut request = Request::new(message);
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    request.metadata_mut().insert("traceparent", traceparent.parse()?);
    Ok(request)
}

/// Returns an order in two parts, with refused returns in between. Then sends by hand the commands
/// that a saga sends only after a failure.
async fn give_back(system: &System, wire: &Wire) -> anyhow::Result<()> {
    let (_, _, order) = place(system, "tok_approved", "teapot", 2, None).await?;
    let (_, _, kept) = place(system, "tok_approved", "teapot", 3, None).await?;
    let (_, _, declined) = place(system, "tok_declined", "teapot", 2, None).await?;
    let nowhere = Uuid::now_v7().to_string();
    for (key, order, lines, why) in [
        ("part", &order, vec![("teapot", 1)], ""),
        ("more", &order, vec![("teapot", 2)], "NOT_RETURNABLE"),
        ("strange", &order, vec![("kettle", 1)], "NOT_ORDERED"),
        ("rest", &order, vec![], ""),
        ("nothing", &order, vec![], "NOTHING_LEFT"),
        ("declined", &declined, vec![], "NOT_CONFIRMED"),
        ("nowhere", &nowhere, vec![], "NO_SUCH_ORDER"),
    ] {
        let line = |(sku, quantity): (&str, i64)| Line { sku: sku.to_owned(), quantity };
        let request = traced(ReturnOrderRequest {
            idempotency_key: key.to_owned(),
            order_id: order.clone(),
            lines: lines.into_iter().map(line).collect(),
            reason: "it leaks".to_owned(),
            wait: true,
        })?;
        let told = system.orders()?.return_order(request).await?.into_inner();
        let told = told.details.context("a return has details")?;
        let is_done = told.status() == ReturnStatus::Done;
        ensure!(is_done == why.is_empty() && told.reason_code == why, "{told:?}");
    }

    let id = Uuid::now_v7().to_string();
    let teapots = |quantity: &str| json!([{"sku": "teapot", "quantity": quantity}]);
    let open = json!({
        "orderId": kept, "caller": "anonymous", "lines": teapots("1"), "reason": "it leaks"
    });
    let reject = json!({"reasonCode": "CANCELLED", "reason": "changed my mind"});
    let take = |order: &str, quantity: &str| json!({"orderId": order, "lines": teapots(quantity)});
    for (step, type_name, data, answer) in [
        ("open-return/action", "saga.order.v1.OpenReturn", open, "done"),
        ("open-return/compensation", "saga.order.v1.RejectReturn", reject, "done"),
    ] {
        let command = command(&format!("{id}/{step}"), type_name, "return-order", data);
        let reply = ask(system, wire, command).await?;
        ensure!(reply["outcome"] == answer, "{reply}");
    }
    let take_back = "saga.inventory.v1.TakeBackStock";
    for (step, type_name, data, code) in [
        ("mark-returned", "saga.order.v1.MarkReturned", json!({}), "NO_SUCH_RETURN"),
        ("take-back-stock", take_back, take(&declined, "1"), "NOT_SOLD"),
        ("take-back-stock", take_back, take(&kept, "4"), "EXCEEDS_SOLD"),
    ] {
        let id = format!("{}/{step}/action", Uuid::now_v7());
        let reply = ask(system, wire, command(&id, type_name, "return-order", data)).await?;
        ensure!(reply["data"]["code"] == code, "{reply}");
    }
    Ok(())
}

/// Refunds a captured payment, as the saga that returns an order does.
async fn refund(system: &System, wire: &Wire, order: &str) -> anyhow::Result<()> {
    let (payment, unknown) = ("saga.payment.v1.RefundPayment", Uuid::now_v7().to_string());
    for (order, cents, answer) in [
        (order, 1_250, "done"),
        (order, 9_000, "REFUND_EXCEEDS_CAPTURED"),
        (unknown.as_str(), 1, "NOT_CAPTURED"),
    ] {
        let amount = json!({"minorUnits": cents.to_string(), "currency": "EUR"});
        let id = format!("{}/refund-payment/action", Uuid::now_v7());
        let data = json!({"orderId": order, "amount": amount});
        let reply = ask(system, wire, command(&id, payment, "return-order", data)).await?;
        let said = reply["data"]["code"].as_str().or(reply["outcome"].as_str());
        ensure!(said == Some(answer), "{reply}");
    }
    Ok(())
}

/// Sends every command again, and checks that each gets its recorded answer, whatever that is.
async fn every_command_once_more(system: &System, wire: &Wire) -> anyhow::Result<()> {
    for command in wire.first_of_each_command()? {
        let first = wire.answer(&command["id"], false, 0).await;
        let text = wire.text_of(&command["id"])?;
        let again = ask_as(system, wire, &command, &text).await?;
        let mut expected = first;
        expected["repeat"] = json!(true);
        ensure!(again == expected, "{command}\nis repeated as {again}\nnot as {expected}");
    }
    Ok(())
}

async fn every_action_after_its_compensation(system: &System, wire: &Wire) -> anyhow::Result<()> {
    let commands = wire.first_of_each_command()?;
    let step = |command: &Value| {
        let mut parts = command["id"].as_str().unwrap_or_default().split('/').skip(1);
        Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
    };
    let mut by_step: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for command in commands {
        let (step, direction) = step(&command).context("an id has a step and a direction")?;
        by_step.entry(step).or_default().insert(direction, command);
    }
    for (step, both) in by_step.iter().filter(|(_, both)| both.len() == 2) {
        let saga = Uuid::now_v7().to_string();
        for (direction, outcome) in [("compensation", "done"), ("action", "toolate")] {
            let mut command = both[direction].clone();
            command["id"] = json!(format!("{saga}/{step}/{direction}"));
            command["subject"] = json!(saga);
            let reply = ask(system, wire, command).await?;
            ensure!(reply["outcome"] == outcome, "{reply}");
        }
    }
    Ok(())
}

async fn poison(system: &System, wire: &Wire) -> anyhow::Result<()> {
    publish(system.amqp_url(), &[message(system, "inventory", POISON.to_owned())]).await?;
    eventually("poison in the quarantine", LIMIT, async || wire.quarantined()).await;
    Ok(())
}

/// Creates a command that does not come from an orchestrator.
fn command(id: &str, type_name: &str, definition: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": "saga/orchestrator",
        "type": type_name,
        "subject": id.split('/').next(),
        "time": "2026-01-01T12:00:00.000000Z",
        "datacontenttype": "application/json",
        "traceparent": format!("00-{TRACE}-00f067aa0ba902b7-01"),
        "attempt": 1,
        "sequence": "0001",
        "definition": definition,
        "definitionversion": 1,
        "data": data,
    })
}

/// Sends a command and waits for its answer.
async fn ask(system: &System, wire: &Wire, command: Value) -> anyhow::Result<Value> {
    ask_as(system, wire, &command, &command.to_string()).await
}

/// Sends exactly this text as the command and waits for its answer.
async fn ask_as(
    system: &System,
    wire: &Wire,
    command: &Value,
    text: &str,
) -> anyhow::Result<Value> {
    let type_name = command["type"].as_str().context("a command has a type")?;
    let participant = book::commands()
        .find(|kind| kind.type_name == type_name)
        .with_context(|| format!("{type_name} is not in the contract"))?
        .participant;
    let known = wire.answers(&command["id"], true).len();
    let message = message(system, participant, format!("[{text}]"));
    publish(system.amqp_url(), &[message]).await?;
    Ok(wire.answer(&command["id"], true, known).await)
}

fn message(system: &System, participant: &str, body: String) -> RawMessage {
    RawMessage {
        exchange: format!("{}saga.commands", system.prefix()),
        key: participant.to_owned(),
        body: body.into_bytes(),
        reply_to: Some(STRANGER.to_owned()),
        content_type: Some("application/cloudevents-batch+json".to_owned()),
        persistent: true,
        ..RawMessage::default()
    }
}
