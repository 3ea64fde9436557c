//! The broker in memory, and the three participants behind it. Tests choose their answers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use saga_core::{Command, Refusal, TypeName};
use saga_messaging::{
    Body, Changed, Consumer, Envelope, InProcess, InProcessSettings, Message, Outcome, Queue,
    ReplyBody, Route, Transport as _, parcel,
};
use saga_proto::{inventory::v1 as inventory, order::v1 as order, payment::v1 as payment};
use saga_taps::{Tapped, TransportTap, silence};
use serde_json::value::RawValue;
use tokio::sync::broadcast;

const PARTICIPANTS: [&str; 3] = ["order", "inventory", "payment"];
/// Messages that a participant takes at once.
const PREFETCH: u16 = 64;

/// How a participant answers a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Done,
    Refuse(&'static str),
    /// Does not answer until [`Broker::release`] is called.
    Hold,
}

/// The broker. All engines of a world share it.
#[derive(Clone)]
pub(crate) struct Broker {
    transport: InProcess,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    answers: HashMap<&'static str, Answer>,
    held: Vec<Envelope>,
    /// Every command that arrived, written as `reserve-stock/action`.
    seen: Vec<String>,
}

/// The link of an engine that gets neither replies nor hints.
#[derive(Clone)]
pub(crate) struct Deaf {
    transport: InProcess,
    hints: broadcast::Sender<Vec<Changed>>,
}

impl Broker {
    pub(crate) fn new() -> Self {
        let transport = InProcess::new(InProcessSettings::default());
        let broker = Self { transport, inner: Arc::default() };
        for participant in PARTICIPANTS {
            let queue = Queue::Commands { participant: participant.to_owned() };
            let commands = broker.transport.consume(queue, PREFETCH);
            tokio::spawn(broker.clone().take_part(commands));
        }
        broker
    }

    pub(crate) fn link(&self) -> InProcess {
        self.transport.attach()
    }

    /// Creates a link that receives neither replies nor hints. Only other engines decide then.
    pub(crate) fn deaf_link(&self) -> Tapped<Deaf> {
        Tapped(Deaf { transport: self.link(), hints: broadcast::channel(1).0 })
    }

    /// Sets the answer to a command such as `reserve-stock/action`, for all later copies.
    pub(crate) fn answer(&self, command: &'static str, answer: Answer) {
        self.inner.lock().expect("sound").answers.insert(command, answer);
    }

    /// Sets the answer to a command, and answers the copies that were held so far.
    pub(crate) fn release(&self, command: &'static str, answer: Answer) {
        self.answer(command, answer);
        let replies = {
            let mut inner = self.inner.lock().expect("sound");
            let held = std::mem::take(&mut inner.held);
            held.into_iter().filter_map(|envelope| inner.take(envelope)).collect::<Vec<_>>()
        };
        tokio::spawn(self.clone().reply(replies));
    }

    pub(crate) fn seen(&self, command: &str) -> bool {
        self.inner.lock().expect("sound").seen.iter().any(|seen| seen == command)
    }

    async fn take_part(self, mut commands: Consumer) {
        loop {
            let deliveries = commands.next(usize::from(PREFETCH)).await;
            if deliveries.is_empty() {
                return;
            }
            for delivery in deliveries {
                let members = delivery.open().expect("ours");
                let replies = members.into_iter().filter_map(|envelope| {
                    self.inner.lock().expect("sound").take(envelope.expect("ours"))
                });
                let replies = replies.collect();
                self.clone().reply(replies).await;
                delivery.ack.ack();
            }
        }
    }

    /// Publishes replies, each from the participant that its command was for.
    async fn reply(self, replies: Vec<(String, Envelope)>) {
        let to = InProcessSettings::default().deployment;
        let message = |(from, reply): (String, Envelope)| {
            let route = Route::Reply { to: to.clone(), from };
            let (_, body) = parcel::write(&[reply]).remove(0);
            Message::parcel(route, "replies".to_owned(), body)
        };
        let messages = replies.into_iter().map(message).collect();
        self.transport.publish(messages).await.expect("the queue has room");
    }
}

impl Inner {
    /// Returns the reply to a command, unless it is held.
    fn take(&mut self, envelope: Envelope) -> Option<(String, Envelope)> {
        // A command's type is in its participant's package.
        let participant = envelope.type_name.split('.').nth(1).expect("ours").to_owned();
        let name = format!("{}/{}", envelope.id.step, envelope.id.direction);
        self.seen.push(name.clone());
        match self.answers.get(name.as_str()).copied().unwrap_or(Answer::Done) {
            Answer::Hold => {
                self.held.push(envelope);
                None
            }
            Answer::Done => {
                let (type_name, data) = done(&envelope.type_name);
                Some((participant, reply(&envelope, Outcome::Done, type_name.to_owned(), data)))
            }
            Answer::Refuse(code) => {
                let (type_name, data) =
                    Envelope::refusal(&Refusal::new(code, "the test wants it so"));
                Some((participant, reply(&envelope, Outcome::Refused, type_name, data)))
            }
        }
    }
}

impl TransportTap for Deaf {
    type Inner = InProcess;

    fn inner(&self) -> &InProcess {
        &self.transport
    }

    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer {
        match queue {
            Queue::Replies => silence(),
            Queue::Commands { .. } | Queue::Quarantine => self.transport.consume(queue, prefetch),
        }
    }

    fn announce(&self, _: Vec<Changed>) {}

    fn changes(&self) -> broadcast::Receiver<Vec<Changed>> {
        self.hints.subscribe()
    }
}

fn reply(command: &Envelope, outcome: Outcome, type_name: String, data: Box<RawValue>) -> Envelope {
    let Body::Command(body) = &command.body else { panic!("not a command: {command:?}") };
    Envelope {
        id: command.id.clone(),
        source: "saga/test".to_owned(),
        type_name,
        time: None,
        traceparent: None,
        data,
        body: Body::Reply(ReplyBody {
            outcome,
            repeat: false,
            definition: body.definition.clone(),
            definition_version: body.definition_version,
            passed_on: 0,
            answered_by: None,
        }),
    }
}

/// Builds a participant's successful reply to a command.
fn done(command: &str) -> (&'static str, Box<RawValue>) {
    fn of<C: Command>() -> (&'static str, &'static str, &'static str) {
        (C::TYPE, <C::Reply as TypeName>::TYPE, "{}")
    }
    let quote = r#"{"lines":[{"sku":"teapot","quantity":"2","unitPrice":{"minorUnits":"750","currency":"EUR"}}],
                    "total":{"minorUnits":"1500","currency":"EUR"}}"#;
    let opened = r#"{"lines":[{"sku":"teapot","quantity":"1","unitPrice":{"minorUnits":"750","currency":"EUR"}}],
                     "amount":{"minorUnits":"750","currency":"EUR"}}"#;
    let (opened_command, opened_reply, _) = of::<order::OpenReturn>();
    let (stock_command, stock_reply, _) = of::<inventory::ReserveStock>();
    let all = [
        of::<order::CreateOrder>(),
        of::<order::RejectOrder>(),
        of::<order::ConfirmOrder>(),
        (stock_command, stock_reply, quote),
        of::<inventory::ReleaseStock>(),
        of::<inventory::CommitStock>(),
        of::<payment::AuthorisePayment>(),
        of::<payment::VoidAuthorisation>(),
        of::<payment::CapturePayment>(),
        (opened_command, opened_reply, opened),
        of::<order::RejectReturn>(),
        of::<payment::RefundPayment>(),
        of::<inventory::TakeBackStock>(),
        of::<order::MarkReturned>(),
    ];
    let (_, reply, data) = all.into_iter().find(|(name, ..)| *name == command).expect("known");
    (reply, RawValue::from_string(data.to_owned()).expect("JSON"))
}
