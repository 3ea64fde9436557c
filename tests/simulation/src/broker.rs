//! A broker that gives only a real broker's guarantees: a confirmed message is stored, and an
//! unacknowledged one is redelivered. It guarantees nothing about order or time.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use saga_messaging::{Ack, Changed, Death, Delivery, Message, Queue, Refused, Route, Sender};
use tokio::{
    sync::{Notify, broadcast, mpsc},
    time::{Instant, sleep_until, timeout},
};

use crate::{
    check::Checks,
    faults::{Fault, Point},
    forger::Forger,
    life::Life,
    meddler::Meddler,
    sim::{Sim, lock},
};

/// The `reply_to` of this deployment.
pub(crate) const DEPLOYMENT: &str = "orchestrator";
/// The number of hints that are kept for a slow receiver.
const HINTS: usize = 64;
/// The time after a consumer's end in which its deliveries may still be acknowledged.
const SETTLE_LIMIT: Duration = Duration::from_secs(5);

/// The broker's state, which all processes share.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) sim: Arc<Sim>,
    pub(crate) checks: Arc<Checks>,
    queues: Mutex<BTreeMap<String, Backlog>>,
    /// The number of redeliveries after which a message is given up; `None`: no limit.
    delivery_limit: Option<u32>,
    /// Whether expired commands are given up.
    expires: bool,
    away_until: Mutex<Option<Instant>>,
    /// A notification ends every connection.
    cut: Notify,
    pub(crate) changes: broadcast::Sender<Vec<Changed>>,
    /// A test's rule for single messages.
    pub(crate) meddler: Meddler,
    pub(crate) forger: Forger,
}

#[derive(Debug, Default)]
struct Backlog {
    /// Messages by the earliest time of delivery, then by the order of arrival.
    waiting: BTreeMap<(Instant, u64), Stored>,
    next: u64,
    consumers: usize,
    filled: Arc<Notify>,
}

#[derive(Debug)]
struct Stored {
    message: Message,
    returns: u32,
    death: Option<Death>,
    expires: Option<Instant>,
}

impl Broker {
    /// Creates a broker with empty queues.
    #[must_use]
    pub(crate) fn new(
        sim: Arc<Sim>,
        checks: Arc<Checks>,
        delivery_limit: Option<u32>,
        expires: bool,
        forges: bool,
    ) -> Arc<Self> {
        let (changes, _) = broadcast::channel(HINTS);
        let (queues, away_until, cut) = (Mutex::default(), Mutex::default(), Notify::new());
        let meddler = Meddler::default();
        let broker = Self {
            sim,
            checks,
            queues,
            delivery_limit,
            expires,
            away_until,
            cut,
            changes,
            meddler,
            forger: Forger::new(forges),
        };
        Arc::new(broker)
    }

    /// Makes the broker unavailable for a while, and ends every connection.
    pub(crate) fn go_away(&self, time: Duration) {
        self.sim.say("broker", || format!("is away for {time:?}"));
        let until = lock(&self.away_until).max(Some(Instant::now() + time));
        *lock(&self.away_until) = until;
        self.cut.notify_waiters();
    }

    /// Returns the time at which the broker will be back, if it is away.
    pub(crate) fn away(&self) -> Option<Instant> {
        lock(&self.away_until).filter(|until| *until > Instant::now())
    }

    /// Returns the number of messages in a queue, without those that are out for delivery.
    pub(crate) fn depth(&self, queue: &Queue) -> usize {
        lock(&self.queues).get(&name(queue)).map_or(0, |backlog| backlog.waiting.len())
    }

    /// Accepts a message, which may then arrive late or twice.
    pub(crate) fn take(&self, mut message: Message) -> Result<(), Refused> {
        let queue = match &message.route {
            Route::Command { participant } => {
                message.reply_to.get_or_insert_with(|| DEPLOYMENT.to_owned());
                Queue::Commands { participant: participant.clone() }
            }
            Route::Again { participant } => Queue::Commands { participant: participant.clone() },
            Route::Reply { to, .. } if to == DEPLOYMENT => Queue::Replies,
            Route::Reply { .. } => return Err(Refused::Unroutable),
            Route::OwnReplies => Queue::Replies,
            Route::Quarantine { .. } => Queue::Quarantine,
            Route::Event { .. } => {
                self.checks.event_arrived(&message);
                return Ok(());
            }
        };
        if let Route::Command { participant } = &message.route {
            self.forge(participant, &message);
        }
        self.checks.message_arrived(&message);
        let Some(message) = self.meddle(&queue, message) else { return Ok(()) };
        if self.sim.strikes(Fault::Duplicate) {
            self.put(&queue, message.clone(), self.sim.dice.millis(0..=3_000));
        }
        let late = if self.sim.strikes(Fault::SlowMessage) {
            self.sim.dice.millis(20..=8_000)
        } else {
            self.sim.dice.millis(0..=3)
        };
        self.put(&queue, message, late);
        Ok(())
    }

    /// Puts a message into a queue.
    pub(crate) fn put(&self, queue: &Queue, message: Message, late: Duration) {
        let now = Instant::now();
        let expires = message.expiry.filter(|_| self.expires).map(|expiry| now + expiry);
        let stored = Stored { message, returns: 0, death: None, expires };
        self.store(&name(queue), stored, now + late);
    }

    fn store(&self, queue: &str, stored: Stored, ready: Instant) {
        let mut queues = lock(&self.queues);
        let backlog = queues.entry(queue.to_owned()).or_default();
        backlog.waiting.insert((ready, backlog.next), stored);
        backlog.next += 1;
        backlog.filled.notify_waiters();
    }

    fn give_up(&self, stored: Stored, from: &str, reason: &str) {
        self.sim.say("broker", || format!("gives up {} of {from}: {reason}", stored.message.id));
        if reason == "delivery_limit" {
            self.checks.given_up(&stored.message);
        }
        let death = Some(Death { queue: from.to_owned(), reason: reason.to_owned() });
        let stored = Stored { returns: 0, death, expires: None, ..stored };
        self.store(&name(&Queue::Quarantine), stored, Instant::now());
    }

    /// Redelivers messages that were out without an acknowledgement.
    fn give_back(&self, queue: &str, out: BTreeMap<u64, Stored>) {
        for (_, mut stored) in out {
            stored.returns += 1;
            let spent = self.delivery_limit.is_some_and(|limit| stored.returns > limit);
            if spent && queue != name(&Queue::Quarantine) {
                self.give_up(stored, queue, "delivery_limit");
            } else {
                let late = self.sim.dice.millis(0..=20);
                self.store(queue, stored, Instant::now() + late);
            }
        }
    }

    /// Returns the time at which the next message of a queue can be delivered.
    fn next_ready(&self, queue: &str) -> Option<Instant> {
        let ready = lock(&self.queues).get(queue)?.waiting.first_key_value()?.0.0;
        Some(self.away().map_or(ready, |back| back.max(ready)))
    }

    /// Takes the next message that is due, or by chance leaves it to another consumer.
    fn next(&self, queue: &str) -> Option<Stored> {
        loop {
            let stored = {
                let mut queues = lock(&self.queues);
                let backlog = queues.get_mut(queue)?;
                let entry = backlog.waiting.first_entry()?;
                if entry.key().0 > Instant::now() {
                    return None;
                }
                let ((ready, place), stored) = entry.remove_entry();
                if self.sim.dice.below(backlog.consumers.max(1)) > 0 {
                    let later = ready.max(Instant::now()) + Duration::from_millis(1);
                    backlog.waiting.insert((later, place), stored);
                    backlog.filled.notify_waiters();
                    return None;
                }
                stored
            };
            if stored.expires.is_some_and(|expires| expires <= Instant::now()) {
                self.give_up(stored, queue, "expired");
                continue;
            }
            return Some(stored);
        }
    }

    fn filled(&self, queue: &str) -> Arc<Notify> {
        Arc::clone(&lock(&self.queues).entry(queue.to_owned()).or_default().filled)
    }

    fn consumers(&self, queue: &str, change: isize) {
        let mut queues = lock(&self.queues);
        let backlog = queues.entry(queue.to_owned()).or_default();
        backlog.consumers = backlog.consumers.saturating_add_signed(change);
    }

    /// Delivers a queue's messages to one consumer of a process.
    pub(crate) async fn deliver(
        self: Arc<Self>,
        life: Arc<Life>,
        queue: Queue,
        prefetch: u16,
        cut: Arc<Notify>,
        to: mpsc::Sender<Delivery>,
    ) {
        let (before_ack, after_ack) = match queue {
            Queue::Commands { .. } => (Point::BeforeCommandAck, Point::AfterCommandAck),
            Queue::Replies | Queue::Quarantine => (Point::BeforeReplyAck, Point::AfterReplyAck),
        };
        let queue = name(&queue);
        self.consumers(&queue, 1);
        let filled = self.filled(&queue);
        let (ack, mut acks) = mpsc::unbounded_channel();
        let mut out: BTreeMap<u64, Stored> = BTreeMap::new();
        let mut next_tag = 0;
        loop {
            let (more, room) = (filled.notified(), out.len() < usize::from(prefetch));
            let ready = self.next_ready(&queue);
            tokio::select! {
                biased;
                () = to.closed() => break,
                () = cut.notified() => {
                    life.say(|| format!("loses its connection: {} of {queue} come again", out.len()));
                    self.give_back(&queue, std::mem::take(&mut out));
                }
                () = self.cut.notified() => {
                    self.give_back(&queue, std::mem::take(&mut out));
                }
                Some(tag) = acks.recv() => {
                    if life.is_dead() || !out.contains_key(&tag) {
                        continue;
                    }
                    if self.sim.crashes(before_ack) {
                        life.kill(before_ack.name());
                    } else if self.sim.strikes(Fault::AckLost) {
                        life.say(|| format!("an acknowledgement is lost: {} of {queue} come again", out.len()));
                        self.give_back(&queue, std::mem::take(&mut out));
                    } else {
                        out.remove(&tag);
                        if self.sim.crashes(after_ack) {
                            life.kill(after_ack.name());
                        }
                    }
                }
                () = sleep_until(ready.unwrap_or_else(Instant::now)), if room && ready.is_some() => {
                    if let Some(stored) = self.next(&queue) {
                        next_tag += 1;
                        life.say(|| received(&stored, &queue));
                        if stored.returns > 0 || stored.message.redelivered {
                            self.checks.delivered_again(&stored.message);
                        }
                        // If the consumer was dropped just now, the loop ends at its next turn.
                        let _ = to.try_send(delivery(&stored, Ack::new(next_tag, ack.clone())));
                        out.insert(next_tag, stored);
                    }
                }
                () = more, if room => {}
            }
        }
        // From here on only the holders of deliveries keep the channel of acknowledgements open.
        drop((to, ack));
        if !life.is_dead() {
            let settling = async {
                while let Some(tag) = acks.recv().await {
                    if !life.is_dead() {
                        out.remove(&tag);
                    }
                }
            };
            let _ = timeout(SETTLE_LIMIT, settling).await;
        }
        self.consumers(&queue, -1);
        self.give_back(&queue, out);
    }
}

fn name(queue: &Queue) -> String {
    match queue {
        Queue::Commands { participant } => format!("saga.commands.{participant}"),
        Queue::Replies => "saga.replies".to_owned(),
        Queue::Quarantine => "saga.quarantine".to_owned(),
    }
}

fn received(stored: &Stored, queue: &str) -> String {
    let again = if stored.returns > 0 || stored.message.redelivered { ", again" } else { "" };
    format!("gets {} of {queue}{again}", crate::transport::describe(&stored.message))
}

fn delivery(stored: &Stored, ack: Ack) -> Delivery {
    let Stored { message, returns, death, .. } = stored;
    let headers = message.route.headers(name);
    let sender = if death.is_some() { Sender::Broker } else { Sender::by(&message.route) };
    Delivery {
        sender,
        body: message.body.clone(),
        content_type: Some(message.content_type.to_owned()),
        redelivered: *returns > 0 || message.redelivered,
        reply_to: message.reply_to.clone(),
        message_id: Some(message.id.clone()),
        death: death.clone(),
        headers,
        ack,
    }
}
