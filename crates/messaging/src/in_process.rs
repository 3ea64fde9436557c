//! The transport inside one process, for the embedded mode and for simulations.
//!
//! It promises what RabbitMQ promises to the port, and the conformance suite
//! holds both to it; but messages do not survive the process. They need not: the
//! sagas' rows do, and what a row waits for is sent again when its `wake_at`
//! passes.
//!
//! Nothing here depends on chance or on a clock of its own. Queues are first in,
//! first out; what comes back goes to its old place; consumers of one queue take
//! turns, each as much as it has room for. On a current-thread runtime the same
//! calls give the same deliveries, also with tokio's clock paused. One coroutine
//! a consumer moves its deliveries; its only timer bounds its end. A message past
//! its expiry is given up when the head of its queue is next looked at: when a
//! consumer has room, or when the queue is full.
//!
//! Not imitated: AMQP's bounds on the length of names and ids.

mod consumption;
mod queues;
mod topic;

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

use self::{
    consumption::Consumption,
    queues::{Address, Queues},
};
use crate::{Changed, Consumer, Message, PublishError, Queue, Transport, limits};

/// A broker in memory, as one of the processes that share it sees it.
///
/// Cloning is cheap, and a clone is the same process. [`InProcess::attach`] makes
/// another one.
#[derive(Clone)]
pub struct InProcess {
    broker: Arc<Broker>,
    process: Arc<Process>,
}

/// What an in-process transport has to be told.
#[derive(Clone, Debug)]
pub struct InProcessSettings {
    /// The participants whose command queues exist from the start. That of any
    /// other begins to exist when somebody consumes it.
    pub participants: Vec<String>,
    /// The `reply_to` of this deployment's commands, the only one that reaches a queue.
    pub deployment: String,
    /// How often a message comes again before it goes to the quarantine.
    pub delivery_limit: u32,
    /// Messages that may wait in a queue. A further one is refused.
    pub queue_capacity: usize,
}

impl Default for InProcessSettings {
    /// No participants, 10 redeliveries as on RabbitMQ, and
    /// [`limits::QUEUE_CAPACITY`] messages a queue.
    fn default() -> Self {
        Self {
            participants: Vec::new(),
            deployment: "orchestrator".to_owned(),
            delivery_limit: 10,
            queue_capacity: limits::QUEUE_CAPACITY,
        }
    }
}

/// What all processes share.
struct Broker {
    queues: Mutex<Queues>,
    changes: broadcast::Sender<Vec<Changed>>,
}

/// What one process can close without the others.
struct Process {
    /// True tells its consumers to end. Each holds a receiver until it has.
    closing: watch::Sender<bool>,
    closed: AtomicBool,
}

impl InProcess {
    /// An empty broker, and its first process.
    #[must_use]
    pub fn new(settings: InProcessSettings) -> Self {
        let (changes, _) = broadcast::channel(limits::MAX_BEHIND);
        let broker = Broker { queues: Mutex::new(Queues::new(settings)), changes };
        Self { broker: Arc::new(broker), process: Arc::default() }
    }

    /// Another process at the same broker: closing one leaves the other alone.
    #[must_use]
    pub fn attach(&self) -> Self {
        Self { broker: Arc::clone(&self.broker), process: Arc::default() }
    }

    /// Consumes the domain events whose key matches one of these patterns, from
    /// now on: `*` stands for one word between dots, `#` for any number of them.
    /// What was not acknowledged when the consumer is dropped is gone with it.
    ///
    /// At most [`limits::LISTENER_PREFETCH`] events are out without an
    /// acknowledgement. A listener that falls a whole queue behind makes events
    /// be refused, as a full queue of commands does with commands.
    #[must_use]
    pub fn listen(&self, keys: &[&str]) -> Consumer {
        let address = self.broker.queues().listen(keys);
        self.start(address, limits::LISTENER_PREFETCH)
    }

    /// How many messages a queue has, those included that are out without an
    /// acknowledgement.
    #[must_use]
    pub fn depth(&self, queue: &Queue) -> usize {
        self.broker.queues().depth(&Address::Named(queue.clone()))
    }

    /// Ends it for every clone. Consumers get no more deliveries; what is being
    /// handled may still be acknowledged, for 5 s, and answers to it published.
    pub async fn close(self) {
        self.process.closing.send_replace(true);
        // Bounded, because each consumer bounds how long it settles.
        self.process.closing.closed().await;
        self.process.closed.store(true, Ordering::Relaxed);
    }

    fn start(&self, address: Address, prefetch: u16) -> Consumer {
        let (consumption, deliveries) = Consumption::new(self, address, prefetch);
        tokio::spawn(consumption.run());
        Consumer::new(deliveries)
    }
}

impl Transport for InProcess {
    async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        if self.process.closed.load(Ordering::Relaxed) {
            return Err(PublishError::Unavailable("the adapter is closed".to_owned()));
        }
        let refused = self.broker.queues().publish(messages, Instant::now());
        if refused.is_empty() { Ok(()) } else { Err(PublishError::Refused(refused)) }
    }

    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer {
        let address = self.broker.queues().open(queue);
        self.start(address, prefetch.max(1))
    }

    fn announce(&self, changed: Vec<Changed>) {
        if !changed.is_empty() {
            // Nobody may be listening.
            let _ = self.broker.changes.send(changed);
        }
    }

    fn changes(&self) -> broadcast::Receiver<Vec<Changed>> {
        self.broker.changes.subscribe()
    }
}

impl Broker {
    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Process {
    fn default() -> Self {
        Self { closing: watch::Sender::new(false), closed: AtomicBool::new(false) }
    }
}

impl fmt::Debug for InProcess {
    /// Leaves the messages out: they may hold payment tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
