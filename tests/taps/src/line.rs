//! The other end of the line to one participant: sends it commands as an orchestrator does, and
//! keeps everything that it publishes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use saga_core::{Command, CommandId, OutgoingCommand, Payload, Timestamp};
use saga_messaging::{
    Body, Consumer, Envelope, InProcess, InProcessSettings, Message, Outcome, PublishError, Queue,
    Refused, Route, Transport, parcel,
};
use tokio::sync::oneshot;

use crate::{Tapped, TransportTap, before_ack, changed};

/// Time limit for every wait: longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// More parcels than any test sends at once. A participant's own prefetch would hold back the
/// parcels that a test wants it to handle together.
const PREFETCH: u16 = 1_000;

/// The line to one participant, in memory. Clones share it.
#[derive(Clone)]
pub struct Line(Arc<Inner>);

struct Inner {
    participant: &'static str,
    broker: InProcess,
    published: Mutex<Vec<Message>>,
    /// The parcels that are not acknowledged yet, by their ids.
    open: Mutex<BTreeMap<String, oneshot::Sender<()>>>,
    sent: AtomicU64,
    refuses_events: AtomicBool,
}

/// A participant's reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The command that it answers.
    pub id: CommandId,
    /// The outcome.
    pub outcome: Outcome,
    /// True if the participant had recorded this answer earlier.
    pub repeat: bool,
    /// The reply's data, as JSON.
    pub data: String,
}

impl Line {
    /// Creates the line to a participant.
    #[must_use]
    pub fn to(participant: &'static str) -> Self {
        let settings = InProcessSettings {
            // Its queue is there before it runs, as on a broker that was set up.
            participants: vec![participant.to_owned()],
            ..InProcessSettings::default()
        };
        Self(Arc::new(Inner {
            participant,
            broker: InProcess::new(settings),
            published: Mutex::default(),
            open: Mutex::default(),
            sent: AtomicU64::new(0),
            refuses_events: AtomicBool::new(false),
        }))
    }

    /// Returns the participant's end of the line.
    #[must_use]
    pub fn transport(&self) -> Tapped<Self> {
        Tapped(self.clone())
    }

    /// Sends commands as one parcel, waits until it is acknowledged, and returns the replies to
    /// these commands since then.
    ///
    /// # Panics
    /// If the parcel is not acknowledged in time.
    pub async fn send(&self, commands: &[Envelope]) -> Vec<Reply> {
        let before = self.published().len();
        let number = self.0.sent.fetch_add(1, Ordering::Relaxed);
        let id = format!("parcel-{number}");
        let (acknowledged, on_ack) = oneshot::channel();
        self.0.open.lock().expect("whole").insert(id.clone(), acknowledged);
        let (_, body) = parcel::write(commands).pop().expect("one parcel");
        let route = Route::Command { participant: self.0.participant.to_owned() };
        let sent = self.0.broker.publish(vec![Message::parcel(route, id, body)]).await;
        sent.expect("the queue takes it");
        tokio::time::timeout(PATIENCE, on_ack).await.expect("in time").expect("acknowledged");
        let asked = |reply: &Reply| commands.iter().any(|command| command.id == reply.id);
        let published = self.published();
        published[before..].iter().flat_map(replies).filter(asked).collect()
    }

    /// Sets whether events are refused, as if a listener's queue were full.
    pub fn refuse_events(&self, refuse: bool) {
        self.0.refuses_events.store(refuse, Ordering::Relaxed);
    }

    /// Returns the keys of all events so far, in the order in which they were published, with
    /// repetitions.
    #[must_use]
    pub fn events(&self) -> Vec<String> {
        let key = |message: &Message| match &message.route {
            Route::Event { key } => Some(key.clone()),
            Route::Command { .. }
            | Route::Again { .. }
            | Route::Reply { .. }
            | Route::OwnReplies
            | Route::Quarantine { .. } => None,
        };
        self.published().iter().filter_map(key).collect()
    }

    /// Returns everything that the participant has published, as text.
    #[must_use]
    pub fn everything(&self) -> String {
        format!("{:?}", self.published())
    }

    fn published(&self) -> MutexGuard<'_, Vec<Message>> {
        self.0.published.lock().expect("whole")
    }
}

impl TransportTap for Line {
    type Inner = InProcess;

    fn inner(&self) -> &InProcess {
        &self.0.broker
    }

    async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        if self.0.refuses_events.load(Ordering::Relaxed) {
            let events = messages.iter().enumerate().filter_map(|(index, message)| {
                let event = matches!(message.route, Route::Event { .. });
                event.then_some((index, Refused::Nacked))
            });
            let refused: Vec<_> = events.collect();
            if !refused.is_empty() {
                return Err(PublishError::Refused(refused));
            }
        }
        self.published().extend(messages.clone());
        self.0.broker.publish(messages).await
    }

    fn consume(&self, queue: Queue, _: u16) -> Consumer {
        let line = self.clone();
        changed(self.0.broker.consume(queue, PREFETCH), PREFETCH, move |delivery| {
            let id = delivery.message_id.clone().unwrap_or_default();
            let waiting = line.0.open.lock().expect("whole").remove(&id);
            let Some(waiting) = waiting else { return vec![delivery] };
            // The sender may have given up.
            vec![before_ack(delivery, || waiting.send(()).unwrap_or(()))]
        })
    }
}

/// Returns the replies in a message, which are none if it is of another kind.
fn replies(message: &Message) -> Vec<Reply> {
    if !matches!(message.route, Route::Reply { .. }) {
        return Vec::new();
    }
    let members = parcel::read(&message.body).expect("a parcel");
    let reply = |member: parcel::Member| {
        let envelope = member.expect("a sound reply");
        let Body::Reply(reply) = envelope.body else { panic!("a reply") };
        let (outcome, repeat, data) = (reply.outcome, reply.repeat, envelope.data.get().to_owned());
        Reply { id: envelope.id, outcome, repeat, data }
    };
    members.into_iter().map(reply).collect()
}

/// Creates the envelope of a command, as an orchestrator sends it.
#[must_use]
pub fn command<C: Command>(id: CommandId, command: &C) -> Envelope {
    let outgoing = OutgoingCommand {
        id,
        payload: Payload::of(command),
        attempt: 1,
        expiry_millis: 1_000,
        sequence: 1,
        definition: "place-order",
        definition_version: 1,
        traceparent: None,
    };
    Envelope { time: None, ..Envelope::command(outgoing, "saga/orchestrator", Timestamp(0)) }
}
