//! The transport inside one process, for the embedded mode and for simulations.
//!
//! It keeps the promises that RabbitMQ makes to the port, and the conformance suite holds both to
//! them. Only messages do not survive the process. They need not: the sagas' rows do survive, and
//! the messages that a row waits for are sent again when its `wake_at` passes.
//!
//! Nothing here depends on chance or on a clock of its own. Queues are first in, first out; a
//! message that comes back goes to its old position; consumers of one queue take turns, and each
//! takes as much as it has room for. On a current-thread runtime the same calls give the same
//! deliveries, also with tokio's clock paused. One task for each consumer moves its deliveries; its
//! only timer bounds how long it may take to end. A message past its expiry is given up when the
//! head of its queue is next examined: when a consumer has room, or when the queue is full.
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

/// One process's view of a broker in memory. Several processes may share the broker.
///
/// A clone is cheap and stands for the same process. [`InProcess::attach`] makes another process.
#[derive(Clone)]
pub struct InProcess {
    broker: Arc<Broker>,
    process: Arc<Process>,
}

/// Settings of an in-process transport.
#[derive(Clone, Debug)]
pub struct InProcessSettings {
    /// The participants whose command queues exist from the start. The queue of any other
    /// participant is made when somebody consumes it.
    pub participants: Vec<String>,
    /// The `reply_to` of this deployment's commands, the only one that reaches a queue.
    pub deployment: String,
    /// Number of redeliveries before a message goes to the quarantine.
    pub delivery_limit: u32,
    /// Number of messages that may wait in a queue. A further one is refused.
    pub queue_capacity: usize,
}

impl Default for InProcessSettings {
    /// No participants, 10 redeliveries as on RabbitMQ, and
    /// [`limits::QUEUE_CAPACITY`] messages in each queue.
    fn default() -> Self {
        Self {
            participants: Vec::new(),
            deployment: "orchestrator".to_owned(),
            delivery_limit: 10,
            queue_capacity: limits::QUEUE_CAPACITY,
        }
    }
}

/// The state that all processes share.
struct Broker {
    queues: Mutex<Queues>,
    changes: broadcast::Sender<Vec<Changed>>,
}

/// The part of the state that belongs to one process, and that it can close without the others.
struct Process {
    /// Set to true when the process's consumers must end. Each holds a receiver until it has ended.
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

    /// Another process at the same broker: closing one does not close the other.
    #[must_use]
    pub fn attach(&self) -> Self {
        Self { broker: Arc::clone(&self.broker), process: Arc::default() }
    }

    /// Consumes the domain events whose key matches one of these patterns, from now on: `*` stands
    /// for one word between dots, `#` for any number of them. When the consumer is dropped, events
    /// that it has not acknowledged are lost.
    ///
    /// At most [`limits::LISTENER_PREFETCH`] events are out without an acknowledgement. If a
    /// listener falls a whole queue behind, further events are refused, as commands are when their
    /// queue is full.
    #[must_use]
    pub fn listen(&self, keys: &[&str]) -> Consumer {
        let address = self.broker.queues().listen(keys);
        self.start(address, limits::LISTENER_PREFETCH)
    }

    /// The number of messages in a queue, including those that are out without an acknowledgement.
    #[must_use]
    pub fn depth(&self, queue: &Queue) -> usize {
        self.broker.queues().depth(&Address::Named(queue.clone()))
    }

    /// Closes the process, for every clone. Consumers get no more deliveries. Deliveries that are
    /// being handled may still be acknowledged for 5 s, and their answers published.
    pub async fn close(self) {
        self.process.closing.send_replace(true);
        // This ends, because each consumer bounds the time that it settles.
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
    /// The messages are left out: they may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
