//! Opens deliveries: turns each into members, which are one command each, or poison.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use bytes::Bytes;
use saga_core::{CommandId, Direction};
use saga_messaging::{
    Ack, Body, CommandBody, Delivery, Envelope, Message, Poison, Queue, Route, Sender,
    trace::Source,
};
use saga_trace::{Context, Span, trace_id};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::{Key, limits};

/// One command of a delivery, as the kit handles it.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) command: CommandBody,
    pub(crate) reply_to: String,
    pub(crate) receipt: Receipt,
    /// Hash of type and payload. A command with the same id and another hash is not a repeat.
    pub(crate) hash: [u8; 16],
    /// The span of the command's handling, if its saga is traced.
    pub(crate) span: Option<Arc<Span>>,
}

impl Member {
    pub(crate) fn id(&self) -> &CommandId {
        &self.envelope.id
    }

    pub(crate) fn direction(&self) -> Direction {
        self.envelope.id.direction
    }

    pub(crate) fn key(&self) -> Key {
        Key { saga: self.envelope.id.saga, step: self.envelope.id.step.clone() }
    }

    /// Returns the context of the command's handling, if its saga is traced.
    pub(crate) fn context(&self) -> Option<Context> {
        self.span.as_ref().map(|span| span.context)
    }

    /// Returns the trace context for the answer and the event.
    pub(crate) fn traceparent(&self) -> Option<String> {
        match self.context() {
            Some(context) => Some(context.to_string()),
            None => self.envelope.traceparent.clone(),
        }
    }

    /// Returns the trace id for log lines.
    pub(crate) fn trace_id(&self) -> &str {
        trace_id(self.envelope.traceparent.as_deref())
    }
}

/// Acknowledges a delivery once all of its members are dealt with. If a clone is dropped before
/// that, the delivery is not acknowledged and comes again.
#[derive(Clone)]
pub(crate) struct Receipt(Arc<Parcel>);

struct Parcel {
    ack: Mutex<Option<Ack>>,
    left: AtomicUsize,
}

impl Receipt {
    fn new(ack: Ack, members: usize) -> Self {
        Self(Arc::new(Parcel { ack: Mutex::new(Some(ack)), left: AtomicUsize::new(members) }))
    }

    /// Records that one member is dealt with.
    pub(crate) fn done(self) {
        if self.0.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let ack = self.0.ack.lock().expect("nothing panics while holding it").take();
            if let Some(ack) = ack {
                ack.ack();
            }
        }
    }
}

/// The content of a delivery.
pub(crate) enum Opened {
    /// Commands to run, and messages that put the poison among them into the quarantine.
    Members(Vec<Member>, Vec<(Message, Receipt)>),
    /// A parcel that was delivered before. Its members go back to the queue one by one, so that a
    /// member that kills this process does not affect its neighbours (protocol 13). Each message
    /// has a receipt, and the parcel is acknowledged with the last of them.
    Apart(Vec<(Message, Receipt)>),
    /// Commands of a party that may not command this participant. None of them is run. The message
    /// puts them into the quarantine.
    Impostor(Sender, Message, Receipt),
}

/// Opens a delivery from a participant's queue.
pub(crate) fn open(delivery: Delivery, participant: &str, source: &Source) -> Opened {
    let read = delivery.open();
    let Delivery { sender, body, redelivered, reply_to, ack, .. } = delivery;
    let queue = Queue::Commands { participant: participant.to_owned() };
    let commands = match &sender {
        Sender::Orchestrator => true,
        Sender::Participant(name) => name == participant,
        Sender::Broker | Sender::Stranger => false,
    };
    if !commands {
        // The message has no command's id: such a row could pass for one of a genuine command.
        let poison = Poison::new(format!("impostor: {sender} commands {participant}"));
        let message = quarantine(&poison, body, None, queue);
        return Opened::Impostor(sender, message, Receipt::new(ack, 1));
    }
    let read = match read {
        Ok(read) => read,
        Err(poison) => {
            let message = quarantine(&poison, body, reply_to, queue);
            return Opened::Members(Vec::new(), vec![(message, Receipt::new(ack, 1))]);
        }
    };
    let receipt = Receipt::new(ack, read.len());
    let mut members = Vec::new();
    let mut poisoned = Vec::new();
    for result in read {
        match result.and_then(|e| member(e, &sender, reply_to.as_deref(), &receipt, source)) {
            Ok(member) => members.push(member),
            Err((poison, json)) => {
                let body = Bytes::from(format!("[{json}]"));
                let message = quarantine(&poison, body, reply_to.clone(), queue.clone());
                poisoned.push((message, receipt.clone()));
            }
        }
    }
    if redelivered && members.len() + poisoned.len() > 1 {
        let singles = members.into_iter().map(|m| (single(&m, participant), m.receipt));
        return Opened::Apart(singles.chain(poisoned).collect());
    }
    Opened::Members(members, poisoned)
}

fn member(
    envelope: Envelope,
    sender: &Sender,
    reply_to: Option<&str>,
    receipt: &Receipt,
    source: &Source,
) -> Result<Member, (Poison, String)> {
    let poison = |envelope: &Envelope, reason: &str| {
        let poison = Poison { reason: reason.to_owned(), id: Some(envelope.id.clone()) };
        (poison, envelope.to_json())
    };
    let Body::Command(mut command) = envelope.body.clone() else {
        return Err(poison(&envelope, "no command"));
    };
    if *sender != Sender::Orchestrator {
        command.watermark = None;
    }
    let Some(reply_to) = reply_to else {
        return Err(poison(&envelope, "no reply_to"));
    };
    let span = Context::recorded(envelope.traceparent.as_deref())
        .map(|context| Arc::new(handling(source, context, &envelope, &command)));
    Ok(Member {
        span,
        command,
        reply_to: reply_to.to_owned(),
        receipt: receipt.clone(),
        hash: hash(&envelope),
        envelope: Arc::new(envelope),
    })
}

/// Makes the span of a command's handling, from now until the command is answered.
fn handling(source: &Source, context: Context, envelope: &Envelope, command: &CommandBody) -> Span {
    let CommandId { saga, step, direction } = &envelope.id;
    source
        .handling(context, format!("{step} {direction}"), SystemTime::now())
        .with("saga.id", saga.to_string())
        .with("saga.definition", command.definition.clone())
        .with("saga.step", step.clone())
        .with("saga.direction", direction.as_str())
        .with("saga.attempt", i64::from(command.attempt))
        .with("messaging.message.id", envelope.id.to_string())
}

fn hash(envelope: &Envelope) -> [u8; 16] {
    let mut hash = Sha256::new();
    hash.update(envelope.type_name.as_bytes());
    hash.update([0]);
    hash.update(envelope.data.get().as_bytes());
    let mut short = [0; 16];
    short.copy_from_slice(&hash.finalize()[..16]);
    short
}

/// Makes a message that sends one member back to the queue that it came from. Like every command,
/// it expires if no replica takes it.
fn single(member: &Member, participant: &str) -> Message {
    let route = Route::Again { participant: participant.to_owned() };
    let body = format!("[{}]", member.envelope.to_json());
    let reply_to = Some(member.reply_to.clone());
    let parcel = Message::parcel(route, member.id().to_string(), body);
    Message { reply_to, redelivered: true, expiry: Some(limits::APART_EXPIRY), ..parcel }
}

/// Makes a message that puts a body into the quarantine.
fn quarantine(poison: &Poison, body: Bytes, reply_to: Option<String>, from: Queue) -> Message {
    let route = Route::Quarantine { reason: poison.reason.clone(), from };
    // The command's id is the key, so that a command that is sent again adds no row (protocol 15).
    let id = poison.id.as_ref().map_or_else(|| body_id(&body), ToString::to_string);
    Message { reply_to, ..Message::parcel(route, id, body) }
}

/// Makes a message that puts a well-formed member that cannot be handled into the quarantine.
pub(crate) fn quarantine_member(member: &Member, reason: &str, participant: &str) -> Message {
    let poison = Poison { reason: reason.to_owned(), id: Some(member.id().clone()) };
    let body = Bytes::from(format!("[{}]", member.envelope.to_json()));
    let queue = Queue::Commands { participant: participant.to_owned() };
    quarantine(&poison, body, Some(member.reply_to.clone()), queue)
}

/// Makes an id for a body that has none: its hash.
fn body_id(body: &[u8]) -> String {
    let hash = Sha256::digest(body);
    hash[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn data(member: &Member) -> &RawValue {
    &member.envelope.data
}

#[cfg(test)]
mod tests {
    use saga_messaging::{InProcess, InProcessSettings, MALFORMED_HEADER};
    use tokio::sync::mpsc;

    use super::*;

    fn delivery(body: &str) -> (Delivery, mpsc::UnboundedReceiver<u64>) {
        let (acks, acked) = mpsc::unbounded_channel();
        let delivery = Delivery {
            sender: Sender::Orchestrator,
            body: Bytes::from(body.to_owned()),
            content_type: None,
            redelivered: false,
            reply_to: Some("orchestrator".to_owned()),
            message_id: None,
            death: None,
            headers: [].into(),
            ack: Ack::new(1, acks),
        };
        (delivery, acked)
    }

    fn open_one(delivery: Delivery) -> Opened {
        let queue = Queue::Commands { participant: "stock".to_owned() };
        let source = Source::of(&InProcess::new(InProcessSettings::default()), &queue);
        open(delivery, "stock", &source)
    }

    const COMMAND: &str = r#"[{"specversion":"1.0","id":"019b76da-0000-7000-8000-000000000001/step/action","source":"saga/orchestrator","type":"a.B","subject":"019b76da-0000-7000-8000-000000000001","datacontenttype":"application/json","sequence":"0001","attempt":1,"definition":"d","definitionversion":1,"data":{}}]"#;

    #[test]
    fn a_member_of_a_parcel_that_is_taken_apart_dies_if_nobody_takes_it() {
        let other = COMMAND.replace("/step/", "/other/");
        let parcel = format!("[{},{}]", &COMMAND[1..COMMAND.len() - 1], &other[1..other.len() - 1]);
        let (mut again, mut acked) = delivery(&parcel);
        again.redelivered = true;
        let Opened::Apart(singles) = open_one(again) else { panic!("it came again") };
        assert_eq!(singles.len(), 2);
        for (single, receipt) in singles {
            assert_eq!((single.expiry, single.redelivered), (Some(limits::APART_EXPIRY), true));
            assert!(acked.try_recv().is_err(), "not before the last");
            receipt.done();
        }
        assert_eq!(acked.try_recv(), Ok(1));
    }

    #[test]
    fn commands_of_anybody_else_are_not_run_and_keep_no_commands_id() {
        let other = Sender::Participant("payment".to_owned());
        for sender in [other, Sender::Broker, Sender::Stranger] {
            let (mut forged, _acked) = delivery(COMMAND);
            forged.sender = sender.clone();
            let Opened::Impostor(from, message, _) = open_one(forged) else { panic!("{sender}") };
            assert_eq!((from, &message.body[..]), (sender, COMMAND.as_bytes()));
            assert!(message.id.parse::<CommandId>().is_err(), "{}", message.id);
        }
    }

    #[test]
    fn a_watermark_is_heard_from_the_orchestrator_only() {
        let watermark = r#""definition":"d","watermark":"019b76da-0000-7000-8000-000000000009""#;
        let carrying = COMMAND.replace(r#""definition":"d""#, watermark);
        let own = Sender::Participant("stock".to_owned());
        for (sender, heard) in [(Sender::Orchestrator, true), (own, false)] {
            let (mut carries, _acked) = delivery(&carrying);
            carries.sender = sender;
            let Opened::Members(members, _) = open_one(carries) else { panic!("not again") };
            assert_eq!(members[0].command.watermark.is_some(), heard);
        }
    }

    #[test]
    fn a_command_that_did_not_come_as_it_was_sent_is_not_run() {
        let (sound, _acked) = delivery(COMMAND);
        let Opened::Members(members, poisoned) = open_one(sound) else { panic!("new") };
        assert_eq!((members.len(), poisoned.len()), (1, 0));
        let (mut malformed, _acked) = delivery(COMMAND);
        malformed.headers.insert(MALFORMED_HEADER.to_owned(), "not UTF-8".to_owned());
        let Opened::Members(members, poisoned) = open_one(malformed) else { panic!("new") };
        let [(Message { route: Route::Quarantine { reason, .. }, body, .. }, _)] = &poisoned[..]
        else {
            panic!("poison")
        };
        assert_eq!((members.len(), &**reason), (0, "malformed: not UTF-8"));
        assert_eq!(body, COMMAND);
    }
}
