//! A stand-in for the broker, for one participant. It delivers messages one by one, and keeps the
//! published ones.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use saga_core::CommandId;
use saga_messaging::{
    Ack, Body, Changed, CommandBody, Consumer, Delivery, Envelope, Message, Outcome, PublishError,
    Queue, Refused, Route, Transport, parcel,
};
use serde_json::Value;
use tokio::sync::{broadcast, mpsc};

/// Time limit for every wait: longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct Wire(Arc<Inner>);

struct Inner {
    deliver: mpsc::Sender<Delivery>,
    deliveries: Mutex<Option<mpsc::Receiver<Delivery>>>,
    published: Mutex<Vec<Message>>,
    refuses_events: AtomicBool,
}

/// The outcome of sending a command once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Became {
    Done(Value),
    Refused(String),
    TooLate,
    /// The delivery was acknowledged without an answer, so the saga would send the command again.
    Dropped,
}

impl Wire {
    pub(crate) fn new() -> Self {
        let (deliver, deliveries) = mpsc::channel(1_000);
        let deliveries = Mutex::new(Some(deliveries));
        Self(Arc::new(Inner {
            deliver,
            deliveries,
            published: Mutex::default(),
            refuses_events: AtomicBool::new(false),
        }))
    }

    /// Sends commands as one parcel, waits until it is acknowledged, and returns their outcomes.
    pub(crate) async fn send(&self, commands: &[(CommandId, &'static str, String)]) -> Vec<Became> {
        let before = self.0.published.lock().expect("whole").len();
        let members: Vec<String> = commands.iter().map(command).collect();
        let (ack, mut acked) = mpsc::unbounded_channel();
        let delivery = Delivery {
            body: Bytes::from(format!("[{}]", members.join(","))),
            content_type: Some(parcel::BATCH.to_owned()),
            redelivered: false,
            reply_to: Some("replies".to_owned()),
            message_id: None,
            death: None,
            headers: Default::default(),
            ack: Ack::new(1, ack),
        };
        self.0.deliver.send(delivery).await.expect("the participant runs");
        tokio::time::timeout(PATIENCE, acked.recv()).await.expect("in time").expect("acknowledged");
        let replies = self.replies(before);
        commands
            .iter()
            .map(|(id, ..)| {
                let reply = replies.iter().find(|(replied, _)| replied == id);
                reply.map_or(Became::Dropped, |(_, became)| became.clone())
            })
            .collect()
    }

    /// Sets whether events are refused, as if a listener's queue were full.
    pub(crate) fn refuse_events(&self, refuse: bool) {
        self.0.refuses_events.store(refuse, Ordering::Relaxed);
    }

    /// Returns the keys of all events so far, in the order in which they were published, with
    /// repetitions.
    pub(crate) fn events(&self) -> Vec<String> {
        let published = self.0.published.lock().expect("whole");
        let key = |message: &Message| match &message.route {
            Route::Event { key } => Some(key.clone()),
            Route::Command { .. }
            | Route::Reply { .. }
            | Route::OwnReplies
            | Route::Quarantine { .. } => None,
        };
        published.iter().filter_map(key).collect()
    }

    /// Returns everything that was published, as text.
    pub(crate) fn everything(&self) -> String {
        format!("{:?}", self.0.published.lock().expect("whole"))
    }

    fn replies(&self, from: usize) -> Vec<(CommandId, Became)> {
        let published = self.0.published.lock().expect("whole");
        let replies = published[from..].iter().filter(|m| matches!(m.route, Route::Reply { .. }));
        replies
            .flat_map(|message| parcel::read(&message.body).expect("a parcel"))
            .map(|envelope| {
                let envelope = envelope.expect("a sound reply");
                let Body::Reply(reply) = envelope.body else { panic!("a reply") };
                let data: Value = serde_json::from_str(envelope.data.get()).expect("JSON");
                let became = match reply.outcome {
                    Outcome::Done => Became::Done(data),
                    Outcome::Refused => {
                        Became::Refused(data["code"].as_str().expect("a code").to_owned())
                    }
                    Outcome::TooLate => Became::TooLate,
                };
                (envelope.id, became)
            })
            .collect()
    }
}

fn command((id, type_name, data): &(CommandId, &'static str, String)) -> String {
    Envelope {
        id: id.clone(),
        source: "saga/orchestrator".to_owned(),
        type_name: (*type_name).to_owned(),
        time: None,
        traceparent: None,
        data: serde_json::value::RawValue::from_string(data.clone()).expect("JSON"),
        body: Body::Command(CommandBody {
            attempt: 1,
            sequence: 1,
            definition: "test".to_owned(),
            definition_version: 1,
            watermark: None,
        }),
    }
    .to_json()
}

impl Transport for Wire {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        if self.0.refuses_events.load(Ordering::Relaxed) {
            let event = |(index, m): (usize, &Message)| {
                matches!(m.route, Route::Event { .. }).then_some((index, Refused::Nacked))
            };
            let refused: Vec<_> = messages.iter().enumerate().filter_map(event).collect();
            if !refused.is_empty() {
                return Err(PublishError::Refused(refused));
            }
        }
        self.0.published.lock().expect("whole").extend(messages);
        Ok(())
    }

    fn consume(&self, _queue: Queue, _prefetch: u16) -> Consumer {
        let deliveries = self.0.deliveries.lock().expect("whole").take();
        Consumer::new(deliveries.expect("one participant"))
    }

    fn announce(&self, _changed: Vec<Changed>) {}

    fn changes(&self) -> broadcast::Receiver<Vec<Changed>> {
        broadcast::channel(1).1
    }
}
