//! An in-memory broker that also plays the three participants. Tests choose its answers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use saga_core::{Command, Refusal, TypeName};
use saga_messaging::{
    Ack, Body, Changed, Consumer, Delivery, Envelope, Message, Outcome, PublishError, Queue,
    ReplyBody, Route, Transport, parcel,
};
use saga_proto::{inventory::v1 as inventory, order::v1 as order, payment::v1 as payment};
use serde_json::value::RawValue;
use tokio::sync::{broadcast, mpsc};

/// How a participant answers a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Done,
    Refuse(&'static str),
    /// Does not answer until [`Broker::release`] is called.
    Hold,
}

/// The broker. All links of engines share it.
#[derive(Clone)]
pub(crate) struct Broker {
    inner: Arc<Mutex<Inner>>,
    hints: broadcast::Sender<Vec<Changed>>,
}

#[derive(Default)]
struct Inner {
    answers: HashMap<&'static str, Answer>,
    held: Vec<Envelope>,
    /// Every command that arrived, written as `reserve-stock/action`.
    seen: Vec<String>,
    replies: Option<mpsc::UnboundedSender<Envelope>>,
    early: Vec<Envelope>,
}

/// One engine's connection to the broker.
#[derive(Clone)]
pub(crate) struct Link {
    broker: Broker,
    /// True if the engine consumes replies and receives hints.
    hears: bool,
}

impl Broker {
    pub(crate) fn new() -> Self {
        Self { inner: Arc::default(), hints: broadcast::channel(64).0 }
    }

    pub(crate) fn link(&self) -> Link {
        Link { broker: self.clone(), hears: true }
    }

    /// Creates a link that receives neither replies nor hints. Only other engines decide then.
    pub(crate) fn deaf_link(&self) -> Link {
        Link { broker: self.clone(), hears: false }
    }

    /// Sets the answer to a command such as `reserve-stock/action`, for all later copies.
    pub(crate) fn answer(&self, command: &'static str, answer: Answer) {
        self.inner.lock().expect("sound").answers.insert(command, answer);
    }

    /// Sets the answer to a command, and answers the copies that were held so far.
    pub(crate) fn release(&self, command: &'static str, answer: Answer) {
        self.answer(command, answer);
        let mut inner = self.inner.lock().expect("sound");
        let held = std::mem::take(&mut inner.held);
        for envelope in held {
            inner.take(envelope);
        }
    }

    pub(crate) fn seen(&self, command: &str) -> bool {
        self.inner.lock().expect("sound").seen.iter().any(|seen| seen == command)
    }
}

impl Inner {
    fn take(&mut self, envelope: Envelope) {
        let name = format!("{}/{}", envelope.id.step, envelope.id.direction);
        self.seen.push(name.clone());
        let reply = match self.answers.get(name.as_str()).copied().unwrap_or(Answer::Done) {
            Answer::Hold => return self.held.push(envelope),
            Answer::Done => {
                let (type_name, data) = done(&envelope.type_name);
                reply(&envelope, Outcome::Done, type_name.to_owned(), data)
            }
            Answer::Refuse(code) => {
                let (type_name, data) =
                    Envelope::refusal(&Refusal::new(code, "the test wants it so"));
                reply(&envelope, Outcome::Refused, type_name, data)
            }
        };
        match &self.replies {
            Some(replies) => replies.send(reply).expect("the engine lives as long as the test"),
            None => self.early.push(reply),
        }
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

impl Transport for Link {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        for message in messages {
            match &message.route {
                Route::Command { .. } => {}
                // No test consumes the events of stuck sagas.
                Route::Event { key } if key == "saga.stuck" => continue,
                route => panic!("{route:?}"),
            }
            for envelope in parcel::read(&message.body).expect("ours") {
                let envelope = envelope.expect("ours");
                self.broker.inner.lock().expect("sound").take(envelope);
            }
        }
        Ok(())
    }

    fn consume(&self, queue: Queue, _prefetch: u16) -> Consumer {
        let (deliveries, consumer) = mpsc::channel(64);
        let (sender, mut replies) = mpsc::unbounded_channel::<Envelope>();
        if self.hears && queue == Queue::Replies {
            let mut inner = self.broker.inner.lock().expect("sound");
            for reply in std::mem::take(&mut inner.early) {
                sender.send(reply).expect("it is here");
            }
            inner.replies = Some(sender);
        } else {
            // Keep the sender, so that the queue stays open but silent.
            tokio::spawn(async move { sender.closed().await });
        }
        let (acks, _) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(reply) = replies.recv().await {
                let (_, body) = parcel::write(&[reply]).pop().expect("one");
                let delivery = Delivery {
                    body: Bytes::from(body),
                    content_type: Some(parcel::BATCH.to_owned()),
                    redelivered: false,
                    reply_to: None,
                    message_id: None,
                    death: None,
                    headers: Default::default(),
                    ack: Ack::new(0, acks.clone()),
                };
                if deliveries.send(delivery).await.is_err() {
                    return;
                }
            }
        });
        Consumer::new(consumer)
    }

    fn announce(&self, changed: Vec<Changed>) {
        if self.hears {
            let _ = self.broker.hints.send(changed);
        }
    }

    fn changes(&self) -> broadcast::Receiver<Vec<Changed>> {
        if self.hears {
            return self.broker.hints.subscribe();
        }
        let (silent, changes) = broadcast::channel(1);
        tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(silent)
        });
        changes
    }
}
