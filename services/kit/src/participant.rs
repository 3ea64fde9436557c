//! A participant: its handlers, and the loop that passes commands to them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use metrics::counter;
use saga_core::{Command, Direction, LEAST_RETENTION, Watermark};
use saga_messaging::{Insisting, Pace, Queue, Sender, Transport, trace::Source};
use saga_trace::Span;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{error, info};

use crate::{
    Handle, HandleOutside, Store,
    erased::Bound,
    handlers::{Handlers, Kind},
    limits,
    member::{Opened, Receipt, open},
    outgoing::Outgoing,
    outside,
    retention::follow,
    settling::settle,
    trace::receiving,
    transact::{Batches, Stop},
};

/// The outcomes of commands, as labels of the metric.
const OUTCOMES: [&str; 8] = [
    "run",
    "repeated",
    "nothing to undo",
    "too late",
    "late",
    "dropped",
    "quarantined",
    "impostor",
];

/// A participant: its name, its store, and one handler for each command.
pub struct Participant<S: Store> {
    name: &'static str,
    store: S,
    handlers: Handlers<S::Tx>,
}

/// The settings of a participant.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Maximum number of parcels that are delivered and not yet acknowledged.
    pub prefetch: u16,
    /// Maximum number of members in one transaction.
    pub max_batch: usize,
    /// Least age of a watermark. A younger one is not stored. Only tests use less than
    /// [`saga_core::LEAST_RETENTION`].
    pub least_retention: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            prefetch: limits::PREFETCH,
            max_batch: limits::MAX_BATCH_MEMBERS,
            least_retention: LEAST_RETENTION,
        }
    }
}

impl<S: Store> Participant<S> {
    /// Makes a participant without handlers. Its name is the routing key of its queue.
    #[must_use]
    pub fn new(name: &'static str, store: S) -> Self {
        Self { name, store, handlers: Handlers::none() }
    }

    /// Adds the handler of an action whose effect is in the service's own database.
    #[must_use]
    pub fn action<C: Command, H: Handle<C, S::Tx>>(self, handler: &Arc<H>) -> Self {
        let bound: Bound<Arc<H>, C> = Bound::new(Arc::clone(handler));
        self.with::<C>(Direction::Action, Kind::Local(Arc::new(bound)))
    }

    /// Adds the handler of a compensation whose effect is in the service's own database.
    #[must_use]
    pub fn compensation<C: Command, H: Handle<C, S::Tx>>(self, handler: &Arc<H>) -> Self {
        let bound: Bound<Arc<H>, C> = Bound::new(Arc::clone(handler));
        self.with::<C>(Direction::Compensation, Kind::Local(Arc::new(bound)))
    }

    /// Adds the handler of an action whose effect is in the outside world.
    #[must_use]
    pub fn outside_action<C: Command, H: HandleOutside<C, S::Tx>>(self, handler: &Arc<H>) -> Self {
        let bound: Bound<Arc<H>, C> = Bound::new(Arc::clone(handler));
        self.with::<C>(Direction::Action, Kind::Outside(Arc::new(bound)))
    }

    /// Adds the handler of a compensation whose effect is in the outside world.
    #[must_use]
    pub fn outside_compensation<C: Command, H: HandleOutside<C, S::Tx>>(
        self,
        handler: &Arc<H>,
    ) -> Self {
        let bound: Bound<Arc<H>, C> = Bound::new(Arc::clone(handler));
        self.with::<C>(Direction::Compensation, Kind::Outside(Arc::new(bound)))
    }

    fn with<C: Command>(mut self, direction: Direction, kind: Kind<S::Tx>) -> Self {
        assert_eq!(C::PARTICIPANT, self.name, "{} is not for this participant", C::TYPE);
        self.handlers.add::<C>(direction, kind);
        self
    }

    /// Takes commands until `shutdown`, then finishes the commands that it has begun.
    ///
    /// One batch runs while the one before it is being confirmed. No command is acknowledged before
    /// its answer is confirmed, so nothing is lost if this future ends at any other moment.
    pub async fn run<T: Transport>(
        self,
        transport: T,
        settings: Settings,
        shutdown: CancellationToken,
    ) {
        let name = self.name;
        let queue = Queue::Commands { participant: name.to_owned() };
        let source = Source::of(&transport, &queue);
        let mut consumer = transport.consume(queue, settings.prefetch);
        let (to_confirm, confirmations) = mpsc::channel(limits::BATCHES_IN_CONFIRMATION);
        let (found, findings) = mpsc::unbounded_channel();
        let (watermark, _) = watch::channel(Watermark::NONE);
        let following = shutdown.child_token();
        let age = settings.least_retention;
        tokio::spawn(follow(name, self.store.clone(), watermark.clone(), age, following.clone()));
        let _stops_following = following.drop_guard();
        let batches = Arc::new(Batches {
            name,
            source: format!("saga/{name}"),
            store: self.store,
            handlers: self.handlers,
            calls: outside::Calls::new(found),
            watermark,
            shutdown: shutdown.clone(),
        });
        // Both tasks end with this future: dropping it is like a crash, and no part of it
        // continues.
        let confirming =
            AbortOnDropHandle::new(tokio::spawn(confirm(transport, name, confirmations)));
        let settle = settle(Arc::downgrade(&batches), findings, to_confirm.clone());
        let mut settling = AbortOnDropHandle::new(tokio::spawn(settle));
        let mut settled = false;
        // Counters must export zero, not a gap, before anything was counted.
        counter!("saga_store_silent_total").increment(0);
        counter!("saga_impostor_alerts_total").increment(0);
        counter!("saga_participant_unsent_total", "participant" => name).increment(0);
        for outcome in OUTCOMES {
            counter!("saga_participant_commands_total", "participant" => name, "outcome" => outcome)
                .increment(0);
        }
        for why in ["away", "conflict"] {
            counter!("saga_participant_retries_total", "participant" => name, "why" => why)
                .increment(0);
        }
        info!(participant = name, "takes commands");
        let mut pace = Pace::default();
        let mut impostors = BTreeSet::new();
        loop {
            pace.rest().await;
            let deliveries = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                // If the task that settles calls has ended, no such command would get an answer. So
                // the participant stops as a whole.
                ended = &mut settling => {
                    settled = true;
                    error!(participant = name, ?ended, "nothing settles any more: stops");
                    break;
                }
                deliveries = consumer.next(limits::MAX_DELIVERIES) => deliveries,
            };
            if deliveries.is_empty() {
                break;
            }
            let mut outgoing = Outgoing::default();
            let mut members = Vec::new();
            for delivery in deliveries {
                match open(delivery, name, &source) {
                    Opened::Members(sound, poisoned) => {
                        members.extend(sound);
                        for (message, receipt) in poisoned {
                            outgoing.quarantine(message, receipt);
                        }
                    }
                    Opened::Apart(messages) => outgoing.others.extend(messages),
                    Opened::Impostor(sender, message, receipt) => {
                        impostor(name, &sender, &mut impostors);
                        outgoing.quarantine(message, receipt);
                    }
                }
            }
            let (count, began) = (members.len(), Instant::now());
            let receiving = receiving(&source, &members);
            while !members.is_empty() {
                let rest = members.split_off(members.len().min(settings.max_batch));
                match batches.run(members).await {
                    Ok(done) => outgoing.append(done),
                    Err(Stop) => break,
                }
                members = rest;
            }
            receiving.into_iter().for_each(Span::end);
            pace.worked(count, began);
            let late = async {
                shutdown.cancelled().await;
                sleep(limits::ROOM_WHEN_STOPPING).await;
            };
            tokio::select! {
                biased;
                sent = to_confirm.send(outgoing) => if sent.is_err() { break },
                // The answers are committed. The unacknowledged commands are delivered again
                // elsewhere.
                () = late => break,
            }
        }
        drop(to_confirm);
        batches.calls.stop();
        drop(batches);
        // The consumer must live until every answered command has been acknowledged.
        let _ = tokio::time::timeout(limits::DRAIN, async {
            if !settled {
                let _ = settling.await;
            }
            let _ = confirming.await;
        })
        .await;
        drop(consumer);
        info!(participant = name, "has stopped taking commands");
    }
}

/// Counts a delivery of a party that may not command this participant. The first delivery of each
/// party raises an alert.
fn impostor(participant: &'static str, sender: &Sender, found: &mut BTreeSet<Sender>) {
    counter!("saga_participant_commands_total", "participant" => participant, "outcome" => "impostor")
        .increment(1);
    if found.insert(sender.clone()) {
        counter!("saga_impostor_alerts_total").increment(1);
        error!(participant, %sender, "a party commands that may not: its credential may be stolen");
    }
}

/// Publishes each batch's messages, in the order of the batches.
async fn confirm<T: Transport>(
    transport: T,
    name: &'static str,
    mut batches: mpsc::Receiver<Outgoing>,
) {
    let mut insisting = Insisting::default();
    while let Some(outgoing) = insisting.next(&transport, &mut batches, Receipt::done).await {
        outgoing.leave(&transport, name, &mut insisting).await;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use saga_core::{Failure, SagaId};
    use saga_messaging::{
        Ack, Changed, Consumer, Delivery, InProcess, InProcessSettings, Message, PublishError,
        Route,
    };
    use tokio::sync::broadcast;

    use super::*;
    use crate::{Entry, Key, Locked, Pruned};

    fn nonsense(ack: Ack) -> Delivery {
        Delivery {
            sender: Sender::Orchestrator,
            body: "nonsense".into(),
            content_type: None,
            redelivered: false,
            reply_to: None,
            message_id: None,
            death: None,
            headers: BTreeMap::new(),
            ack,
        }
    }

    /// Makes the messages and the receipt of a delivery that is poison.
    fn poison(transport: &InProcess, ack: Ack) -> Outgoing {
        let queue = Queue::Commands { participant: "stock".to_owned() };
        let mut outgoing = Outgoing::default();
        match open(nonsense(ack), "stock", &Source::of(transport, &queue)) {
            Opened::Members(_, poisoned) => {
                poisoned.into_iter().for_each(|(message, done)| outgoing.quarantine(message, done));
            }
            Opened::Apart(_) | Opened::Impostor(..) => panic!("it is new, and the orchestrator's"),
        }
        outgoing
    }

    #[tokio::test(start_paused = true)]
    async fn poison_that_the_quarantine_refuses_is_acknowledged_only_once_it_has_arrived() {
        let settings = InProcessSettings { queue_capacity: 1, ..InProcessSettings::default() };
        let transport = InProcess::new(settings);
        let from = Queue::Commands { participant: "stock".to_owned() };
        let route = Route::Quarantine { reason: "it fills the queue".to_owned(), from };
        let first = Message::parcel(route, "first".to_owned(), "x");
        transport.publish(vec![first]).await.expect("there is room for one");
        let (acks, mut acked) = mpsc::unbounded_channel();
        let (batch, batches) = mpsc::channel(2);
        let confirming = tokio::spawn(confirm(transport.clone(), "stock", batches));
        let refused = poison(&transport, Ack::new(1, acks.clone()));
        batch.send(refused).await.expect("it is confirmed");
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert!(acked.try_recv().is_err(), "it has not arrived");
        let mut quarantine = transport.consume(Queue::Quarantine, 1);
        quarantine.next(1).await.remove(0).ack.ack();
        assert_eq!(acked.recv().await, Some(1));
        assert_eq!(&quarantine.next(1).await[0].body[..], b"nonsense");
        drop(batch);
        confirming.await.expect("no panic");
    }

    /// A database that always fails. The test sends only poison, which never reaches it.
    #[derive(Clone)]
    struct NoStore;

    impl Store for NoStore {
        type Tx = ();

        const SETTLING: Duration = Duration::ZERO;

        async fn begin(&self) -> Result<(), Failure> {
            Err(Failure::Unavailable("there is none".to_owned()))
        }

        async fn lock(&self, (): &mut (), _: &[Key]) -> Result<Locked, Failure> {
            Err(Failure::Unavailable("there is none".to_owned()))
        }

        async fn record(&self, (): &mut (), _: &[Entry]) -> Result<(), Failure> {
            Err(Failure::Unavailable("there is none".to_owned()))
        }

        async fn raise(&self, _: Watermark, _: Duration) -> Result<Watermark, Failure> {
            Err(Failure::Unavailable("there is none".to_owned()))
        }

        async fn prune(&self, _: SagaId, _: Watermark, _: usize) -> Result<Pruned, Failure> {
            Err(Failure::Unavailable("there is none".to_owned()))
        }

        async fn commit(&self, (): ()) -> Result<(), Failure> {
            Err(Failure::Unavailable("there is none".to_owned()))
        }
    }

    /// A broker that delivers poison without end, and confirms nothing.
    #[derive(Clone)]
    struct Away;

    impl Transport for Away {
        async fn publish(&self, _: Vec<Message>) -> Result<(), PublishError> {
            std::future::pending().await
        }

        fn consume(&self, _: Queue, _: u16) -> Consumer {
            let (deliver, deliveries) = mpsc::channel(1);
            tokio::spawn(async move {
                let (acks, _) = mpsc::unbounded_channel();
                while deliver.send(nonsense(Ack::new(1, acks.clone()))).await.is_ok() {}
            });
            Consumer::new(deliveries)
        }

        fn announce(&self, _: Vec<Changed>) {}

        fn changes(&self) -> broadcast::Receiver<Vec<Changed>> {
            broadcast::channel(1).1
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_participant_stops_although_nothing_that_it_says_is_confirmed() {
        let shutdown = CancellationToken::new();
        let participant = Participant::new("stock", NoStore);
        let running = participant.run(Away, Settings::default(), shutdown.clone());
        let running = tokio::spawn(running);
        // By now, as many batches wait for confirms as may wait.
        sleep(Duration::from_secs(5)).await;
        assert!(!running.is_finished());
        shutdown.cancel();
        let limit = limits::ROOM_WHEN_STOPPING + limits::DRAIN + Duration::from_secs(1);
        tokio::time::timeout(limit, running).await.expect("in time").expect("no panic");
    }
}
