//! A hostile client of the broker: repeats and reorders messages, forges replies, sends unreadable
//! ones.

use std::time::Duration;

use saga_test_support::amqp::{Listener, RawMessage, publish};

use crate::system::PREFIX;

/// Time for which it collects messages before it repeats them, and the most that it repeats from
/// each exchange.
const LISTENS: Duration = Duration::from_secs(2);
const MOST_REPEATED: usize = 100;
/// Number of poisonous messages that one fault sends. Each must end up in the quarantine.
pub(crate) const POISONS: usize = 5;

/// Collects the commands and replies of two seconds, and publishes them twice more, the newest
/// first.
pub(crate) async fn repeat(url: String) -> anyhow::Result<()> {
    let commands = format!("{PREFIX}saga.commands");
    let mut listeners =
        vec![Listener::bind(&url, &commands, &["order", "inventory", "payment"]).await?];
    for participant in ["order", "inventory", "payment"] {
        let replies = format!("{PREFIX}saga.replies.{participant}");
        listeners.push(Listener::bind(&url, &replies, &["orchestrator"]).await?);
    }
    tokio::time::sleep(LISTENS).await;
    let mut heard = Vec::new();
    for listener in &listeners {
        let mut most = MOST_REPEATED;
        while let Some(message) = listener.take().await? {
            if most == 0 {
                break;
            }
            heard.push(message);
            most -= 1;
        }
    }
    drop(listeners);
    heard.reverse();
    let twice: Vec<RawMessage> = heard.iter().chain(&heard).cloned().collect();
    publish(&url, &twice).await
}

/// Sends [`POISONS`] messages that must go to the quarantine, made unique by `number`, and two
/// forged replies, which orchestrators must ignore and count.
pub(crate) async fn poison(url: String, number: u64) -> anyhow::Result<()> {
    let message = |exchange: &str, key: &str, body: Vec<u8>| RawMessage {
        exchange: format!("{PREFIX}{exchange}"),
        key: key.to_owned(),
        body,
        reply_to: Some("orchestrator".to_owned()),
        persistent: true,
        ..RawMessage::default()
    };
    let saga = |part: u64| format!("00000000-0000-7000-8000-{:012x}", number * 16 + part);
    let unknown = envelope(&saga(1), "reserve-stock/action", "saga.inventory.v1.BurnStock");
    let wrong = envelope(&saga(2), "reserve-stock/compensation", "saga.inventory.v1.ReserveStock");
    let mut not_utf8 = vec![0xff, 0xfe];
    not_utf8.extend_from_slice(&number.to_be_bytes());
    let poisons: [(&str, &str, Vec<u8>); POISONS] = [
        ("saga.commands", "inventory", unknown.into_bytes()),
        ("saga.commands", "inventory", wrong.into_bytes()),
        ("saga.commands", "payment", not_utf8),
        ("saga.commands", "order", format!("no JSON {number}").into_bytes()),
        ("saga.replies.payment", "orchestrator", format!("neither is {number}").into_bytes()),
    ];
    let forged = [forged(&saga(3)), forged(&saga(4))].map(String::into_bytes);
    let forged = forged.map(|body| message("saga.replies.payment", "orchestrator", body));
    let mut messages: Vec<RawMessage> =
        poisons.into_iter().map(|(exchange, key, body)| message(exchange, key, body)).collect();
    messages.extend(forged);
    publish(&url, &messages).await
}

fn envelope(saga: &str, command: &str, type_name: &str) -> String {
    format!(
        r#"[{{"specversion":"1.0","id":"{saga}/{command}","source":"stranger","type":"{type_name}","subject":"{saga}","attempt":1,"sequence":"0002","definition":"place-order","definitionversion":1,"data":{{"lines":[{{"sku":"teapot","quantity":"1"}}]}}}}]"#
    )
}

fn forged(saga: &str) -> String {
    format!(
        r#"[{{"specversion":"1.0","id":"{saga}/capture-payment/action","source":"stranger","type":"saga.payment.v1.PaymentCaptured","subject":"{saga}","outcome":"done","definition":"place-order","definitionversion":1,"data":{{}}}}]"#
    )
}
