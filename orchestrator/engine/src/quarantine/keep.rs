//! Stores messages that cannot be handled in a table that operators can see.

use std::sync::Arc;

use metrics::counter;
use saga_core::Failure;
use saga_messaging::{
    Body, Death, Delivery, Envelope, MALFORMED_HEADER, Queue, REASON_HEADER, Sender, Transport,
    parcel,
};
use saga_trace::trace_id;
use sha2::{Digest as _, Sha256};
use tracing::error;

use super::row::command_of;
use crate::{NewQuarantined, SagaStore, limits, shared::Shared};

/// Moves messages from the quarantine's queue into its table, until shutdown.
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
        let messages: Vec<NewQuarantined> =
            deliveries.iter().flat_map(|one| read(one, |queue| transport.source(&queue))).collect();
        for message in &messages {
            counter!("saga_quarantined_total").increment(1);
            log(message);
        }
        match store_each(&shared, &messages).await {
            Ok(()) => deliveries.into_iter().for_each(|delivery| delivery.ack.ack()),
            // The messages are not acknowledged, so they are delivered again on the next
            // connection.
            Err(failure) => {
                error!(%failure, messages = messages.len(), "cannot be kept in the quarantine");
            }
        }
    }
}

/// Stores messages, all at once if that is possible. Of a message that the database refuses, only a
/// hash is stored, so that it blocks neither the other messages nor this consumer.
async fn store_each<S: SagaStore>(
    shared: &Shared<S>,
    messages: &[NewQuarantined],
) -> Result<(), Failure> {
    match store(shared, messages).await {
        Err(Failure::Permanent(_)) => {}
        kept => return kept,
    }
    for message in messages {
        match store(shared, std::slice::from_ref(message)).await {
            Err(Failure::Permanent(why)) => {
                error!(%why, "a message is kept in the quarantine as its hash");
                store(shared, &[hash_of(message, &why)]).await?;
            }
            kept => kept?,
        }
    }
    Ok(())
}

/// Makes a message that can always be stored, to replace one that cannot.
fn hash_of(message: &NewQuarantined, why: &str) -> NewQuarantined {
    let hash = |bytes: &[u8]| format!("{:x}", Sha256::digest(bytes));
    NewQuarantined {
        id: format!("sha256:{}", hash(message.id.as_bytes())),
        reason: format!("it cannot be stored: {}", why.replace('\0', "\u{fffd}")),
        from: String::new(),
        reply_to: None,
        body: format!("sha256:{}", hash(&message.body)).into_bytes(),
    }
}

/// Logs a message with its saga, command and trace, if they can be read.
fn log(message: &NewQuarantined) {
    let NewQuarantined { id, reason, from, .. } = message;
    let Some(command) = command_of(id) else {
        error!(id, reason, from, "quarantined");
        return;
    };
    let member = parcel::read(&message.body).ok().and_then(|members| members.into_iter().next());
    let traceparent = member.and_then(Result::ok).and_then(|envelope| envelope.traceparent);
    let trace_id = trace_id(traceparent.as_deref());
    error!(saga = %command.saga, %command, trace_id, reason, from, "quarantined");
}

/// Stores messages. Tries again after any number of conflicts. If it gave up, the deliveries would
/// stay unacknowledged until the connection ends, and with enough of them the consumer would get no
/// new ones.
async fn store<S: SagaStore>(
    shared: &Shared<S>,
    messages: &[NewQuarantined],
) -> Result<(), Failure> {
    if messages.is_empty() {
        return Ok(());
    }
    loop {
        match shared.persist(|| shared.store.quarantine(messages), None).await {
            Err(Failure::Conflict(_)) if !shared.shutdown.is_cancelled() => {}
            kept => return kept,
        }
    }
}

/// Reads the messages of a delivery from the quarantine's queue. An expired command is not stored
/// but counted: its saga sends it again (protocol 16). `name` names a queue at the broker.
///
/// Each party quarantines what it finds in its own queue. So the queue that a message came from
/// follows from the proven sender, whatever the message states.
fn read(delivery: &Delivery, name: impl Fn(Queue) -> String) -> Vec<NewQuarantined> {
    // Text from outside may hold characters that some databases do not store.
    let storable = |text: &str| text.replace('\0', "\u{fffd}");
    let header = |name: &str| delivery.headers.get(name).map(|text| storable(text));
    let given = || {
        header(REASON_HEADER)
            .map(|reason| cut(&reason, limits::MAX_REASON_BYTES).to_owned())
            .or_else(|| Some(format!("malformed: {}", header(MALFORMED_HEADER)?)))
    };
    let unsaid = || format!("published to the quarantine by {}, without a reason", delivery.sender);
    let (reason, from) = match (&delivery.sender, &delivery.death) {
        (Sender::Broker, Some(death)) if death.reason == "expired" => {
            counter!("saga_commands_expired_total").increment(1);
            return Vec::new();
        }
        (Sender::Broker, Some(Death { queue, reason })) => (storable(reason), storable(queue)),
        (Sender::Participant(participant), _) => {
            let queue = Queue::Commands { participant: participant.clone() };
            (given().unwrap_or_else(unsaid), name(queue))
        }
        (Sender::Orchestrator, _) => (given().unwrap_or_else(unsaid), name(Queue::Replies)),
        (Sender::Broker | Sender::Stranger, _) => {
            let reason = given().map(|reason| format!("a stranger says: {reason}"));
            (reason.unwrap_or_else(unsaid), String::new())
        }
    };
    let quarantined = |id: String, body: Vec<u8>| NewQuarantined {
        id,
        reason: reason.clone(),
        from: from.clone(),
        reply_to: delivery.reply_to.as_deref().map(storable),
        body,
    };
    let whole = || {
        // Without a message id, the hash of the body is the id: each such body gets a row of its
        // own.
        let unnamed = || format!("sha256:{:x}", Sha256::digest(&delivery.body));
        let id = delivery.message_id.as_deref().map_or_else(unnamed, storable);
        vec![quarantined(id, kept(&delivery.body))]
    };
    // A parcel that the broker gave up is stored member by member. Each row has a command's id, so
    // that a command that is sent again adds no row (protocol 15).
    match delivery.open() {
        Ok(members) if members.iter().all(Result::is_ok) => {
            let sound: Vec<Envelope> = members.into_iter().flatten().collect();
            match &sound[..] {
                [Envelope { body: Body::Command(_) | Body::Event(_), .. }] => whole(),
                _ => sound
                    .iter()
                    .map(|e| quarantined(id_of(e), format!("[{}]", e.to_json()).into()))
                    .collect(),
            }
        }
        Ok(_) | Err(_) => whole(),
    }
}

/// Returns the id of a member's row. A reply has its command's id, so it gets a suffix.
fn id_of(envelope: &Envelope) -> String {
    match envelope.body {
        Body::Reply(_) => format!("{}/reply", envelope.id),
        Body::Command(_) | Body::Event(_) => envelope.id.to_string(),
    }
}

/// Returns the part of a body that is stored. If the body is cut, its size and hash follow.
fn kept(body: &[u8]) -> Vec<u8> {
    match body.split_at_checked(limits::MAX_QUARANTINED_BYTES) {
        None | Some((_, [])) => body.to_vec(),
        Some((start, _)) => {
            let (size, hash) = (body.len(), Sha256::digest(body));
            let end = format!("\n[cut here: {size} bytes in all, sha256:{hash:x}]");
            [start, end.as_bytes()].concat()
        }
    }
}

/// Cuts a text from outside.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use saga_messaging::{Ack, Death, FROM_HEADER};

    use super::*;

    fn read(delivery: &Delivery) -> Vec<NewQuarantined> {
        super::read(delivery, |queue| format!("queue of {}", queue.consumer()))
    }

    #[test]
    fn the_queue_that_a_message_came_from_is_the_senders_own_whatever_the_message_states() {
        let stated = [(REASON_HEADER, "x".repeat(30_000)), (FROM_HEADER, "another's".to_owned())];
        let stated = stated.map(|(name, value)| (name.to_owned(), value));
        let death = Death { queue: "another's".to_owned(), reason: "delivery_limit".to_owned() };
        let forged = |sender| Delivery {
            sender,
            headers: stated.clone().into(),
            death: Some(death.clone()),
            ..delivery("x")
        };
        for (sender, from) in [
            (Sender::Participant("stock".to_owned()), "queue of stock"),
            (Sender::Orchestrator, "queue of orchestrator"),
            (Sender::Stranger, ""),
        ] {
            let [kept] = &read(&forged(sender))[..] else { panic!("one message") };
            assert_eq!(kept.from, from);
            assert!(kept.reason.len() < 2 * limits::MAX_REASON_BYTES, "{}", kept.reason.len());
        }
        let [kept] = &read(&forged(Sender::Broker))[..] else { panic!("one message") };
        assert_eq!((&*kept.reason, &*kept.from), ("delivery_limit", "another's"));
    }

    fn delivery(body: &str) -> Delivery {
        let (acks, _) = tokio::sync::mpsc::unbounded_channel();
        Delivery {
            sender: Sender::Orchestrator,
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
        let death = Death { queue: "g\0h".to_owned(), reason: "i\0j".to_owned() };
        let sender = Sender::Broker;
        let forged = Delivery { sender, death: Some(death), headers: [].into(), ..delivery("x") };
        let [forged] = &read(&forged)[..] else { panic!("one message") };
        assert_eq!((&*forged.reason, &*forged.from), ("i\u{fffd}j", "g\u{fffd}h"));
        let texts = [&kept.id, &kept.reason, &kept.from, kept.reply_to.as_ref().expect("set")];
        assert!(texts.iter().all(|text| !text.contains('\0')), "{kept:?}");
        assert_eq!(kept.body, b"nonsense");
    }

    #[test]
    fn of_a_large_body_the_beginning_and_the_hash_are_kept() {
        let just = delivery(&"x".repeat(limits::MAX_QUARANTINED_BYTES));
        assert_eq!(read(&just)[0].body, just.body);
        let large = delivery(&"x".repeat(limits::MAX_QUARANTINED_BYTES + 1));
        let kept = &read(&large)[0].body;
        assert!(kept.starts_with(&just.body) && kept.len() < just.body.len() + 200);
        let hash = format!("sha256:{:x}]", Sha256::digest(&large.body));
        assert!(kept.ends_with(hash.as_bytes()));
    }

    #[test]
    fn a_malformed_message_is_kept_with_the_reason() {
        let headers = [(MALFORMED_HEADER.to_owned(), "not UTF-8".to_owned())];
        let [kept] = &read(&Delivery { headers: headers.into(), ..delivery("x") })[..] else {
            panic!("one message")
        };
        assert_eq!(kept.reason, "malformed: not UTF-8");
    }

    #[test]
    fn a_reply_that_the_broker_gave_up_is_not_taken_for_its_command() {
        let id = "019b76da-0000-7000-8000-000000000001/step/action";
        let reply = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"saga/stock","type":"a.B","subject":"019b76da-0000-7000-8000-000000000001","datacontenttype":"application/json","definition":"d","definitionversion":1,"outcome":"done","data":{{}}}}"#
        );
        let death = Death { queue: "saga.replies".to_owned(), reason: "delivery_limit".to_owned() };
        for body in [format!("[{reply}]"), format!("[{reply},{reply}]")] {
            let dead = Delivery {
                sender: Sender::Broker,
                death: Some(death.clone()),
                headers: [].into(),
                message_id: Some(id.to_owned()),
                ..delivery(&body)
            };
            let kept = read(&dead);
            assert!(kept.iter().all(|one| one.id == format!("{id}/reply")), "{kept:?}");
            assert_eq!(command_of(&kept[0].id), id.parse().ok());
        }
    }

    #[test]
    fn an_expired_command_is_not_kept() {
        let death = Some(Death { queue: "q".to_owned(), reason: "expired".to_owned() });
        let sender = Sender::Broker;
        let expired = Delivery { sender, death, headers: [].into(), ..delivery("[]") };
        assert!(read(&expired).is_empty());
    }
}
