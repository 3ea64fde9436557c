//! Keeps messages that cannot be handled in a table that operators can see.

use std::sync::Arc;

use metrics::counter;
use saga_core::{CommandId, Failure};
use saga_messaging::{Delivery, Envelope, Queue, Transport, parcel};
use saga_trace::trace_id;
use tracing::error;

use crate::{NewQuarantined, SagaStore, limits, shared::Shared};

/// Moves the quarantine's queue into its table until shutdown.
pub(crate) async fn keep<S: SagaStore, T: Transport>(shared: Arc<Shared<S>>, transport: T) {
    let mut consumer = transport.consume(Queue::Quarantine, limits::QUARANTINE_PREFETCH);
    loop {
        let deliveries = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => return,
            deliveries = consumer.next(limits::MAX_DELIVERIES) => deliveries,
        };
        if deliveries.is_empty() {
            return;
        }
        let messages: Vec<NewQuarantined> = deliveries.iter().flat_map(read).collect();
        for message in &messages {
            counter!("saga_quarantined_total").increment(1);
            log(message);
        }
        if !messages.is_empty()
            && let Err(failure) = store(&shared, &messages).await
        {
            // They are not acknowledged, so they come again with the next connection.
            error!(%failure, messages = messages.len(), "cannot be kept in the quarantine");
            continue;
        }
        for delivery in deliveries {
            delivery.ack.ack();
        }
    }
}

/// Logs a message with its saga, command and trace, if they can be read.
fn log(message: &NewQuarantined) {
    let NewQuarantined { id, reason, from, .. } = message;
    let Ok(command) = id.parse::<CommandId>() else {
        error!(id, reason, from, "quarantined");
        return;
    };
    let member = parcel::read(&message.body).ok().and_then(|members| members.into_iter().next());
    let traceparent = member.and_then(Result::ok).and_then(|envelope| envelope.traceparent);
    let trace_id = trace_id(traceparent.as_deref());
    error!(saga = %command.saga, %command, trace_id, reason, from, "quarantined");
}

/// Stores messages. It tries again after any number of conflicts: giving up would leave the
/// deliveries unacknowledged until the connection ends, and with enough of them the consumer would
/// get no others.
async fn store<S: SagaStore>(
    shared: &Shared<S>,
    messages: &[NewQuarantined],
) -> Result<(), Failure> {
    loop {
        match shared.persist(|| shared.store.quarantine(messages), None).await {
            Err(Failure::Conflict(_)) if !shared.shutdown.is_cancelled() => {}
            kept => return kept,
        }
    }
}

/// Reads the messages of a delivery of the quarantine's queue. A command that outlived its expiry
/// is not kept but counted: its saga sends it again (protocol 16).
fn read(delivery: &Delivery) -> Vec<NewQuarantined> {
    // A stranger's text may hold characters that no database stores.
    let storable = |text: &str| text.replace('\0', "\u{fffd}");
    let header = |name: &str| delivery.headers.get(name).map(|text| storable(text));
    let (reason, from) = match (&delivery.death, header("saga-reason")) {
        (_, Some(reason)) => (reason, header("saga-from").unwrap_or_default()),
        (Some(death), None) if death.reason == "expired" => {
            counter!("saga_commands_expired_total").increment(1);
            return Vec::new();
        }
        (Some(death), None) => (death.reason.clone(), death.queue.clone()),
        (None, None) => ("published to the quarantine by a stranger".to_owned(), String::new()),
    };
    let quarantined = |id: String, body: Vec<u8>| NewQuarantined {
        id,
        reason: reason.clone(),
        from: from.clone(),
        reply_to: delivery.reply_to.as_deref().map(storable),
        body,
    };
    let whole = || {
        let id = delivery.message_id.as_deref().map_or_else(|| "unnamed".to_owned(), storable);
        vec![quarantined(id, delivery.body.to_vec())]
    };
    // A parcel that the broker gave up is kept member by member: the quarantine is keyed by command
    // id, so that a resend adds no copy (protocol 15).
    match parcel::read(&delivery.body) {
        Ok(members) if members.len() > 1 && members.iter().all(Result::is_ok) => members
            .into_iter()
            .flatten()
            .map(|e: Envelope| quarantined(e.id.to_string(), format!("[{}]", e.to_json()).into()))
            .collect(),
        Ok(_) | Err(_) => whole(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use saga_messaging::{Ack, Death};

    use super::*;

    fn delivery(body: &str) -> Delivery {
        let (acks, _) = tokio::sync::mpsc::unbounded_channel();
        Delivery {
            body: Bytes::from(body.to_owned()),
            content_type: None,
            redelivered: false,
            reply_to: Some("a\0b".to_owned()),
            message_id: Some("c\0d".to_owned()),
            death: None,
            headers: [("saga-reason".to_owned(), "e\0f".to_owned())].into(),
            ack: Ack::new(1, acks),
        }
    }

    #[test]
    fn a_strangers_text_can_always_be_stored() {
        let [kept] = &read(&delivery("nonsense"))[..] else { panic!("one message") };
        let texts = [&kept.id, &kept.reason, &kept.from, kept.reply_to.as_ref().expect("set")];
        assert!(texts.iter().all(|text| !text.contains('\0')), "{kept:?}");
        assert_eq!(kept.body, b"nonsense");
    }

    #[test]
    fn an_expired_command_is_not_kept() {
        let death = Some(Death { queue: "q".to_owned(), reason: "expired".to_owned() });
        let expired = Delivery { death, headers: [].into(), ..delivery("[]") };
        assert!(read(&expired).is_empty());
    }
}
