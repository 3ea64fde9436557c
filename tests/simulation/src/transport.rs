//! The messaging port of one process.

use std::{sync::Arc, time::Duration};

use saga_messaging::{
    Body, Changed, Consumer, Delivery, Envelope, Message, PublishError, Queue, Refused, Route,
    Transport, parcel,
};
use tokio::{
    sync::{Notify, broadcast, mpsc},
    time::Instant,
};

use crate::{
    broker::Broker,
    faults::{Fault, Point},
    life::Life,
    sim::lock,
};

/// Time that a publisher waits for a broker that is away.
const PATIENCE: Duration = Duration::from_secs(5);

/// A process's connection to the broker.
#[derive(Clone, Debug)]
pub(crate) struct SimTransport {
    broker: Arc<Broker>,
    life: Arc<Life>,
    /// Ends this process's connections.
    cut: Arc<Notify>,
}

impl SimTransport {
    /// Connects a process.
    #[must_use]
    pub(crate) fn new(broker: Arc<Broker>, life: Arc<Life>, cut: Arc<Notify>) -> Self {
        Self { broker, life, cut }
    }

    /// Publishes messages. A fault may leave them unconfirmed, and then any of them may arrive.
    /// Another fault has some refused, and then the others arrive.
    fn send(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        let sim = &self.life.sim;
        self.broker.checks.told(&messages, &lock(&self.life.undone));
        if sim.strikes(Fault::PublishUnconfirmed) {
            for message in messages {
                let arrives = sim.dice.chance(0.5);
                self.life.say(|| {
                    let fate = if arrives { "arrives" } else { "is lost" };
                    format!("publishes {}: not confirmed, {fate}", describe(&message))
                });
                if arrives {
                    self.broker.checks.published_in_doubt(&message);
                    let _ = self.broker.take(message);
                }
            }
            return Err(PublishError::Unavailable("the confirmation did not come".to_owned()));
        }
        let mut refused = Vec::new();
        for (index, message) in messages.into_iter().enumerate() {
            if sim.strikes(Fault::PublishRefused) {
                self.life.say(|| format!("publishes {}: refused", describe(&message)));
                let why = *sim.dice.pick(&[Refused::Nacked, Refused::Unroutable]);
                refused.push((index, why));
                continue;
            }
            self.life.say(|| format!("publishes {}", describe(&message)));
            if let Err(why) = self.broker.take(message) {
                refused.push((index, why));
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(PublishError::Refused(refused)) }
    }
}

impl Transport for SimTransport {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        let Some((before, after)) = messages.first().map(points) else { return Ok(()) };
        let sim = &self.life.sim;
        self.life.pass(before).await;
        if let Some(back) = self.broker.away() {
            tokio::time::sleep_until(back.min(Instant::now() + PATIENCE)).await;
            self.life.thaw().await;
            if self.broker.away().is_some() {
                return Err(PublishError::Unavailable("the broker is away".to_owned()));
            }
        }
        let sent = self.send(messages);
        let time = if sim.strikes(Fault::SlowConfirm) {
            sim.dice.millis(10..=4_000)
        } else {
            sim.dice.millis(0..=3)
        };
        self.life.spend(time).await;
        self.life.pass(after).await;
        sent
    }

    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer {
        let (to, deliveries): (mpsc::Sender<Delivery>, _) = mpsc::channel(prefetch.into());
        let (life, cut) = (Arc::clone(&self.life), Arc::clone(&self.cut));
        tokio::spawn(Arc::clone(&self.broker).deliver(life, queue, prefetch, cut, to));
        Consumer::new(deliveries)
    }

    fn announce(&self, changed: Vec<Changed>) {
        if !self.life.is_dead() {
            // There may be no listeners.
            let _ = self.broker.changes.send(changed);
        }
    }

    fn changes(&self) -> broadcast::Receiver<Vec<Changed>> {
        self.broker.changes.subscribe()
    }
}

/// Returns the points before and after publishing at which a process can die.
fn points(message: &Message) -> (Point, Point) {
    match &message.route {
        // A participant sends commands only when it splits a parcel.
        Route::Again { .. } => (Point::BeforeApart, Point::AfterApart),
        Route::Command { .. } => (Point::BeforeCommands, Point::AfterCommands),
        Route::Event { .. } => (Point::BeforeEvents, Point::AfterEvents),
        Route::Reply { .. } | Route::OwnReplies | Route::Quarantine { .. } => {
            (Point::BeforeReplies, Point::AfterReplies)
        }
    }
}

/// Describes a message's members in the transcript.
pub(crate) fn describe(message: &Message) -> String {
    if message.content_type == parcel::SINGLE {
        let Route::Event { key } = &message.route else { return message.id.clone() };
        return format!("event {key} {}", short(&message.id));
    }
    let Ok(members) = parcel::read(&message.body) else { return message.id.clone() };
    let members: Vec<String> = members
        .iter()
        .map(|member| match member {
            Ok(envelope) => member_of(envelope),
            Err((poison, _)) => format!("poison ({poison})"),
        })
        .collect();
    format!("[{}]", members.join(", "))
}

fn member_of(envelope: &Envelope) -> String {
    let id = short(&envelope.id.to_string());
    match &envelope.body {
        Body::Command(command) => format!("{id}#{}", command.attempt),
        Body::Reply(reply) => {
            let repeat = if reply.repeat { " repeat" } else { "" };
            format!("{id} {:?}{repeat}", reply.outcome).to_lowercase()
        }
        Body::Event(event) => format!("{id} event {}", event.sequence),
    }
}

/// Shortens a saga's id to its last digits, which distinguish it from the other sagas of its run.
pub(crate) fn short(id: &str) -> String {
    let (saga, rest) = id.split_at(id.len().min(36));
    let saga = saga.rsplit('-').next().unwrap_or(saga);
    format!("{}{rest}", &saga[saga.len().saturating_sub(6)..])
}
