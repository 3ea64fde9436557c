//! The transport inside one process, for the embedded mode and for simulations.
//!
//! It keeps the promises that RabbitMQ makes to the port; the conformance suite tests both
//! transports. The one difference: messages do not survive the process. They need not, because the
//! sagas' rows do, and an orchestrator sends a row's messages again when its `wake_at` passes.
//!
//! The transport uses neither random numbers nor a clock of its own. Queues are first in, first
//! out; a message that comes back goes to its old position; consumers of one queue take turns, and
//! each takes as many messages as it has room for. On a current-thread runtime the same calls lead
//! to the same deliveries, also while tokio's clock is paused. Each consumer has one task, which
//! moves its deliveries; the task's only timer limits how long it may take to end. An expired
//! message leaves its queue when the queue's head is next examined: when a consumer has room, or
//! when the queue is full.
//!
//! The transport does not imitate AMQP's limits on the length of names and ids.

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

/// One process's connection to a broker in memory. Several processes may share the broker.
///
/// Clones are cheap and belong to the same process. [`InProcess::attach`] connects another process.
#[derive(Clone)]
pub struct InProcess {
    broker: Arc<Broker>,
    process: Arc<Process>,
}

/// Settings of an in-process transport.
#[derive(Clone, Debug)]
pub struct InProcessSettings {
    /// The participants whose command queues exist from the start. Any other participant's queue is
    /// created when a consumer of it starts.
    pub participants: Vec<String>,
    /// The name of this deployment of orchestrators: the `reply_to` of its commands. Replies to any
    /// other name are refused as unroutable.
    pub deployment: String,
    /// Number of redeliveries before a message goes to the quarantine.
    pub delivery_limit: u32,
    /// Number of messages that may wait in a queue. A full queue refuses further messages.
    pub queue_capacity: usize,
}

impl Default for InProcessSettings {
    /// Returns settings with no participants, 10 redeliveries as on RabbitMQ, and
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

/// The state of one process, which can be closed while the other processes go on.
struct Process {
    /// True once the process's consumers must end. Each consumer holds a receiver until it has
    /// ended.
    closing: watch::Sender<bool>,
    closed: AtomicBool,
}

impl InProcess {
    /// Creates an empty broker, and connects a first process to it.
    #[must_use]
    pub fn new(settings: InProcessSettings) -> Self {
        let (changes, _) = broadcast::channel(limits::MAX_BEHIND);
        let broker = Broker { queues: Mutex::new(Queues::new(settings)), changes };
        Self { broker: Arc::new(broker), process: Arc::default() }
    }

    /// Connects another process to the same broker. Closing one process does not close the other.
    #[must_use]
    pub fn attach(&self) -> Self {
        Self { broker: Arc::clone(&self.broker), process: Arc::default() }
    }

    /// Starts to consume the domain events whose key matches one of these patterns. In a pattern,
    /// `*` stands for one word between dots, and `#` for any number of words. When the consumer is
    /// dropped, the events that it has not acknowledged are lost.
    ///
    /// The consumer holds at most [`limits::LISTENER_PREFETCH`] unacknowledged events. When its
    /// queue is full, the broker refuses further events, just as it refuses commands for a full
    /// queue.
    #[must_use]
    pub fn listen(&self, keys: &[&str]) -> Consumer {
        let address = self.broker.queues().listen(keys);
        self.start(address, limits::LISTENER_PREFETCH)
    }

    /// Returns the number of messages in a queue, including the delivered but unacknowledged ones.
    #[must_use]
    pub fn depth(&self, queue: &Queue) -> usize {
        self.broker.queues().depth(&Address::Named(queue.clone()))
    }

    /// Closes the process, for every clone. Its consumers get no more deliveries. For 5 s,
    /// deliveries that are being handled may still be acknowledged, and their answers published.
    pub async fn close(self) {
        self.process.closing.send_replace(true);
        // This wait ends, because each consumer limits the time in which it settles.
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
            // The only error is that there is no receiver, which is fine.
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
    /// Leaves out the messages, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
