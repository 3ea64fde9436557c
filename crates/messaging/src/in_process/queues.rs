//! The queues and their messages: plain state. Callers pass in the current time.

use std::{collections::BTreeMap, sync::Arc};

use tokio::{sync::Notify, time::Instant};

use super::{InProcessSettings, topic::Pattern};
use crate::{Death, Message, Queue, Refused, Route};

/// All queues of a broker.
pub(super) struct Queues {
    commands: BTreeMap<String, Backlog>,
    replies: Backlog,
    quarantine: Backlog,
    /// The listeners by number, so that events reach them in a fixed order.
    listeners: BTreeMap<u64, Listener>,
    next_listener: u64,
    deployment: String,
    delivery_limit: u32,
    capacity: usize,
}

/// The address of a queue.
#[derive(Clone, Debug)]
pub(super) enum Address {
    /// A queue that the [`Transport`](crate::Transport) port knows.
    Named(Queue),
    /// A queue that belongs to one event consumer.
    Listener(u64),
}

/// A message in a queue.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) message: Message,
    /// Number of times that it was delivered and came back.
    pub(super) returns: u32,
    pub(super) death: Option<Death>,
    expires: Option<Instant>,
}

/// The messages of one queue.
#[derive(Default)]
struct Backlog {
    /// The waiting messages by position. A message that comes back returns to its old position.
    waiting: BTreeMap<u64, Stored>,
    next_place: u64,
    /// Number of messages that are delivered but not acknowledged.
    out: usize,
    /// Wakes the queue's consumers. While a message waits, this holds a permit or has woken a
    /// consumer.
    filled: Arc<Notify>,
}

struct Listener {
    patterns: Vec<Pattern>,
    backlog: Backlog,
}

impl Queues {
    pub(super) fn new(settings: InProcessSettings) -> Self {
        let InProcessSettings { participants, deployment, delivery_limit, queue_capacity } =
            settings;
        Self {
            commands: participants.into_iter().map(|name| (name, Backlog::default())).collect(),
            replies: Backlog::default(),
            quarantine: Backlog::default(),
            listeners: BTreeMap::new(),
            next_listener: 0,
            deployment,
            delivery_limit,
            capacity: queue_capacity,
        }
    }

    /// Publishes the messages independently of each other, and returns the indices of the refused
    /// ones.
    pub(super) fn publish(
        &mut self,
        messages: Vec<Message>,
        now: Instant,
    ) -> Vec<(usize, Refused)> {
        let mut refused = Vec::new();
        for (index, message) in messages.into_iter().enumerate() {
            if let Err(why) = self.route(message, now) {
                refused.push((index, why));
            }
        }
        refused
    }

    fn route(&mut self, mut message: Message, now: Instant) -> Result<(), Refused> {
        let queue = match &message.route {
            Route::Command { participant } => {
                message.reply_to.get_or_insert_with(|| self.deployment.clone());
                Queue::Commands { participant: participant.clone() }
            }
            Route::Again { participant } => Queue::Commands { participant: participant.clone() },
            Route::Reply { to, .. } if *to == self.deployment => Queue::Replies,
            Route::Reply { .. } => return Err(Refused::Unroutable),
            Route::OwnReplies => Queue::Replies,
            Route::Quarantine { .. } => Queue::Quarantine,
            Route::Event { key } => {
                let hears = |listener: &Listener| listener.patterns.iter().any(|p| p.matches(key));
                let all = self.listeners.iter().filter(|(_, listener)| hears(listener));
                let hearing: Vec<u64> = all.map(|(number, _)| *number).collect();
                let mut taken = Ok(());
                for number in hearing {
                    // A full listener does not keep the event from the others. They get it now, and
                    // a second time when the caller publishes it again.
                    taken = taken.and(self.put(&Address::Listener(number), message.clone(), now));
                }
                return taken;
            }
        };
        self.put(&Address::Named(queue), message, now)
    }

    fn put(&mut self, to: &Address, message: Message, now: Instant) -> Result<(), Refused> {
        let capacity = self.capacity;
        let full = |backlog: &Backlog| backlog.waiting.len() >= capacity;
        if full(self.backlog(to).ok_or(Refused::Unroutable)?) {
            self.give_up_expired(to, now);
        }
        let backlog = self.backlog(to).ok_or(Refused::Unroutable)?;
        if full(backlog) {
            return Err(Refused::Nacked);
        }
        let expires = message.expiry.and_then(|expiry| now.checked_add(expiry));
        backlog.append(Stored { message, returns: 0, death: None, expires });
        Ok(())
    }

    /// Takes the next message and its position. The caller must acknowledge it or give it back.
    pub(super) fn take(&mut self, from: &Address, now: Instant) -> Option<(u64, Stored)> {
        self.give_up_expired(from, now);
        let backlog = self.backlog(from)?;
        let next = backlog.waiting.pop_first()?;
        backlog.out += 1;
        if !backlog.waiting.is_empty() {
            // Wakes the next consumer for the remaining messages.
            backlog.filled.notify_one();
        }
        Some(next)
    }

    /// Acknowledges a message that was taken.
    pub(super) fn acknowledge(&mut self, at: &Address) {
        if let Some(backlog) = self.backlog(at) {
            backlog.out -= 1;
        }
    }

    /// Puts taken messages back at their positions, or into the quarantine if they have come back
    /// too often.
    pub(super) fn give_back(&mut self, to: &Address, out: BTreeMap<u64, Stored>) {
        for (place, mut stored) in out {
            self.acknowledge(to);
            stored.returns = stored.returns.saturating_add(1);
            let kept = if stored.returns > self.delivery_limit {
                self.give_up(to, stored, "delivery_limit")
            } else {
                Some(stored)
            };
            if let (Some(stored), Some(backlog)) = (kept, self.backlog(to)) {
                backlog.waiting.insert(place, stored);
                backlog.filled.notify_one();
            }
        }
    }

    /// Moves expired messages from the head of a queue to the quarantine. It looks at the head
    /// only, as RabbitMQ does.
    fn give_up_expired(&mut self, at: &Address, now: Instant) {
        while let Some(backlog) = self.backlog(at)
            && let Some(head) = backlog.waiting.first_entry()
            && head.get().expires.is_some_and(|expires| expires <= now)
        {
            let (place, stored) = head.remove_entry();
            if let Some(stored) = self.give_up(at, stored, "expired") {
                let backlog = self.backlog(at).expect("it was there a moment ago");
                backlog.waiting.insert(place, stored);
                return;
            }
        }
    }

    /// Moves a message to the quarantine. If the quarantine is full, returns the message, which
    /// must then stay in its queue: it has expired or come back too often, but it must not be lost.
    fn give_up(&mut self, from: &Address, stored: Stored, reason: &str) -> Option<Stored> {
        let queue = match from {
            // The quarantine never gives up a message.
            Address::Named(Queue::Quarantine) => return Some(stored),
            Address::Named(queue) => queue_name(queue),
            // A message of an event consumer's queue is dropped instead of quarantined.
            Address::Listener(_) => return None,
        };
        if self.quarantine.waiting.len() >= self.capacity {
            return Some(stored);
        }
        let death = Some(Death { queue, reason: reason.to_owned() });
        self.quarantine.append(Stored { returns: 0, death, expires: None, ..stored });
        None
    }

    /// Creates the queue unless it exists.
    pub(super) fn open(&mut self, queue: Queue) -> Address {
        if let Queue::Commands { participant } = &queue {
            self.commands.entry(participant.clone()).or_default();
        }
        Address::Named(queue)
    }

    /// Creates the queue of an event consumer.
    pub(super) fn listen(&mut self, keys: &[&str]) -> Address {
        let number = self.next_listener;
        self.next_listener += 1;
        let patterns = keys.iter().map(|key| Pattern::new(key)).collect();
        self.listeners.insert(number, Listener { patterns, backlog: Backlog::default() });
        Address::Listener(number)
    }

    /// Deletes the queue of an event consumer that has ended. Other queues stay.
    pub(super) fn consumer_ended(&mut self, address: &Address) {
        match address {
            Address::Named(_) => {}
            Address::Listener(number) => drop(self.listeners.remove(number)),
        }
    }

    /// Returns the handle by which the queue wakes its consumers, one at a time.
    pub(super) fn filled(&mut self, address: &Address) -> Option<Arc<Notify>> {
        self.backlog(address).map(|backlog| Arc::clone(&backlog.filled))
    }

    pub(super) fn depth(&mut self, address: &Address) -> usize {
        self.backlog(address).map_or(0, |backlog| backlog.waiting.len() + backlog.out)
    }

    fn backlog(&mut self, address: &Address) -> Option<&mut Backlog> {
        match address {
            Address::Named(Queue::Commands { participant }) => self.commands.get_mut(participant),
            Address::Named(Queue::Replies) => Some(&mut self.replies),
            Address::Named(Queue::Quarantine) => Some(&mut self.quarantine),
            Address::Listener(number) => {
                self.listeners.get_mut(number).map(|listener| &mut listener.backlog)
            }
        }
    }
}

impl Backlog {
    fn append(&mut self, stored: Stored) {
        self.waiting.insert(self.next_place, stored);
        self.next_place += 1;
        self.filled.notify_one();
    }
}

/// Returns the name that the queue has on RabbitMQ, so that deaths and reasons read the same.
pub(super) fn queue_name(queue: &Queue) -> String {
    match queue {
        Queue::Commands { participant } => format!("saga.commands.{participant}"),
        Queue::Replies => "saga.replies".to_owned(),
        Queue::Quarantine => "saga.quarantine".to_owned(),
    }
}
