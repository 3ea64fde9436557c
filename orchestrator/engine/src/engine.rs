//! The engine: loops that run side by side and stop together.

use std::{sync::Arc, time::Duration};

use saga_core::{Hosted, Watermark};
use saga_messaging::Transport;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{error, info};

use crate::{
    Requests, Retention, SagaReads, SagaStore, Watches, alert,
    answerer::Impostors,
    carry_out::carry_out,
    census,
    in_flight::InFlight,
    limits,
    outgoing::{Outgoing, confirm},
    quarantine, replies,
    requests::Received,
    retention,
    shared::Shared,
    wake,
};

/// An engine. It drives the sagas of the definitions that it hosts.
pub struct Engine<S, T> {
    store: S,
    transport: T,
    hosted: Hosted,
    requests: Received,
    watches: Watches,
    in_flight: InFlight,
    retention: Duration,
    accepts_unproven: bool,
}

/// The embedder's access to a running engine.
#[derive(Clone)]
pub struct Handle {
    /// Hands requests to the engine.
    pub requests: Requests,
    /// Waits for changes of sagas.
    pub watches: Watches,
    in_flight: InFlight,
}

impl Handle {
    /// Returns the number of sagas that have not ended and are not stuck, plus the requests for new
    /// sagas that still wait. The store counted the sagas about a second ago; this engine's work
    /// since then is added.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.count() + self.requests.waiting()
    }

    /// Returns the time since the store last answered. As long as it answers, that is about a
    /// second.
    #[must_use]
    pub fn store_age(&self) -> Duration {
        self.in_flight.age()
    }
}

impl<S: SagaStore + SagaReads + Retention, T: Transport> Engine<S, T> {
    /// Makes an engine, and the handle to it.
    pub fn new(store: S, transport: T, hosted: Hosted) -> (Self, Handle) {
        let (requests, receiver) = Requests::new();
        let (watches, in_flight) = (Watches::default(), InFlight::new());
        let handle = Handle { requests, watches: watches.clone(), in_flight: in_flight.clone() };
        let retention = limits::LEAST_RETENTION;
        let engine = Self {
            store,
            transport,
            hosted,
            requests: receiver,
            watches,
            in_flight,
            retention,
            accepts_unproven: false,
        };
        (engine, handle)
    }

    /// Sets for how long sagas, their histories and keys are kept after they began. The default is
    /// [`limits::LEAST_RETENTION`]; only tests use less.
    #[must_use]
    pub fn keeping(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Sets whether a reply counts that came by the orchestrators' own exchange, where nothing proves
    /// which participant sent it. Participants of the release before this one publish there. It is
    /// only for a rolling upgrade: as long as it is set, whoever may write to that exchange can
    /// answer for every participant. The default is false.
    #[must_use]
    pub fn accepting_unproven_replies(mut self, accepts: bool) -> Self {
        self.accepts_unproven = accepts;
        self
    }

    /// Runs until `shutdown`, then finishes the work that it has begun. Nothing is lost if it ends
    /// at any other moment: unacknowledged inputs are delivered again, and commands that were not
    /// published are derived again. If one of the loops ends by itself, the whole engine stops and
    /// cancels `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { store, transport, hosted, requests, watches, in_flight, retention, .. } = self;
        let (known, watermark) = watch::channel(Watermark::NONE);
        let (alerts, raised) = mpsc::channel(limits::MAX_WAITING_ALERTS);
        let shared = Arc::new(Shared {
            store: store.clone(),
            hosted,
            watches: watches.clone(),
            in_flight: in_flight.clone(),
            watermark: watermark.clone(),
            alerts,
            accepts_unproven: self.accepts_unproven,
            impostors: Impostors::default(),
            shutdown: shutdown.clone(),
        });
        // Each source of inputs has its own stage, so that none waits for the confirms of another.
        let (begun, begins_confirmed) = stage(&transport, &watermark);
        let (decided, inputs_confirmed) = stage(&transport, &watermark);
        let (woken, wakes_confirmed) = stage(&transport, &watermark);
        let (replied, replies_confirmed) = stage(&transport, &watermark);
        // The stage of replies ends before their consumer does. It also ends if this future is
        // dropped, which is like a crash.
        let replies_confirmed = AbortOnDropHandle::new(tokio::spawn(replies_confirmed));
        info!(definitions = ?shared.hosted, "drives sagas");
        let mut loops = JoinSet::new();
        loops.spawn(begins_confirmed);
        loops.spawn(inputs_confirmed);
        loops.spawn(wakes_confirmed);
        let [begins, inputs] = requests;
        loops.spawn(carry_out(Arc::clone(&shared), begins, begun));
        loops.spawn(carry_out(Arc::clone(&shared), inputs, decided));
        loops.spawn(wake::claim(Arc::clone(&shared), woken));
        loops.spawn(replies::take(
            Arc::clone(&shared),
            transport.clone(),
            replied,
            replies_confirmed,
        ));
        loops.spawn(alert::tell(transport.clone(), raised));
        loops.spawn(quarantine::keep::keep(Arc::clone(&shared), transport.clone()));
        loops.spawn(watches.follow(store.clone(), transport, shutdown.clone()));
        loops.spawn(in_flight.keep(store.clone(), shutdown.clone()));
        loops.spawn(census::take(Arc::clone(&shared)));
        // `shared` is moved, not cloned: once all clones are gone, the loop of alerts ends too.
        loops.spawn(retention::keep(shared, retention, known));
        let all = async {
            while let Some(ended) = loops.join_next().await {
                if !shutdown.is_cancelled() {
                    // The work of this loop would stop silently. It is better to stop the whole
                    // engine, so that it is started again.
                    error!(?ended, "a loop of the engine has ended by itself: the engine stops");
                    shutdown.cancel();
                }
            }
        };
        let deadline = async {
            shutdown.cancelled().await;
            tokio::time::sleep(limits::DRAIN).await;
        };
        // Loops that still run at the deadline are aborted when `loops` is dropped.
        tokio::select! {
            biased;
            () = all => {}
            () = deadline => {}
        }
        info!("has stopped driving sagas");
    }
}

/// Makes a stage, which publishes and acknowledges batches in their order.
fn stage<T: Transport>(
    transport: &T,
    watermark: &watch::Receiver<Watermark>,
) -> (mpsc::Sender<Outgoing>, impl Future<Output = ()> + Send + use<T>) {
    let (sender, receiver) = mpsc::channel(limits::BATCHES_IN_CONFIRMATION);
    (sender, confirm(transport.clone(), watermark.clone(), receiver))
}
