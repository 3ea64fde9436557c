//! The engine: what runs side by side, and how it stops.

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
    carry_out::carry_out,
    census,
    in_flight::InFlight,
    limits,
    outgoing::{Outgoing, confirm},
    quarantine, replies,
    requests::Request,
    retention,
    shared::Shared,
    wake,
};

/// Drives the sagas of the definitions that it hosts.
pub struct Engine<S, T> {
    store: S,
    transport: T,
    hosted: Hosted,
    requests: mpsc::Receiver<Request>,
    watches: Watches,
    in_flight: InFlight,
    retention: Duration,
}

/// What an embedder gets to talk to an engine.
#[derive(Clone)]
pub struct Handle {
    /// Where requests are handed in.
    pub requests: Requests,
    /// Where sagas are waited for.
    pub watches: Watches,
    in_flight: InFlight,
}

impl Handle {
    /// How many sagas have not ended, and how many requests are about to begin some: as the
    /// store counted a second ago at most, and with what this engine has done since.
    pub fn in_flight(&self) -> u64 {
        self.in_flight.count() + self.requests.waiting()
    }
}

impl<S: SagaStore + SagaReads + Retention, T: Transport> Engine<S, T> {
    /// An engine, and the handle to talk to it.
    pub fn new(store: S, transport: T, hosted: Hosted) -> (Self, Handle) {
        let (requests, receiver) = Requests::new();
        let (watches, in_flight) = (Watches::default(), InFlight::default());
        let handle = Handle { requests, watches: watches.clone(), in_flight: in_flight.clone() };
        let retention = limits::LEAST_RETENTION;
        let engine =
            Self { store, transport, hosted, requests: receiver, watches, in_flight, retention };
        (engine, handle)
    }

    /// Keeps sagas, their histories and keys for so long after they were begun:
    /// longer than [`limits::LEAST_RETENTION`], which is what it does unless told.
    /// Shorter, it is for tests.
    #[must_use]
    pub fn keeping(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Runs until `shutdown`, then finishes what it has begun. Ending at any
    /// moment, by whatever means, loses nothing: what was not acknowledged comes
    /// again, and what was not published is derived again. If one of its loops ends
    /// by itself, it stops as a whole, and cancels `shutdown` to say so.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { store, transport, hosted, requests, watches, in_flight, retention } = self;
        let (known, watermark) = watch::channel(Watermark::NONE);
        let (alerts, raised) = mpsc::channel(limits::MAX_WAITING_ALERTS);
        let shared = Arc::new(Shared {
            store: store.clone(),
            hosted,
            watches: watches.clone(),
            in_flight: in_flight.clone(),
            watermark: watermark.clone(),
            alerts,
            shutdown: shutdown.clone(),
        });
        // Each source has its own way out, so that none waits for another's confirms.
        let (requested, requests_confirmed) = stage(&transport, &watermark);
        let (woken, wakes_confirmed) = stage(&transport, &watermark);
        let (replied, replies_confirmed) = stage(&transport, &watermark);
        // The way out of replies ends before their consumer does, and with this
        // future, whose end in the middle of everything is a crash.
        let replies_confirmed = AbortOnDropHandle::new(tokio::spawn(replies_confirmed));
        info!(definitions = ?shared.hosted, "drives sagas");
        let mut loops = JoinSet::new();
        loops.spawn(requests_confirmed);
        loops.spawn(wakes_confirmed);
        loops.spawn(carry_out(Arc::clone(&shared), requests, requested));
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
        // The last one that raises alerts ends the loop that tells of them.
        loops.spawn(retention::keep(shared, retention, known));
        let all = async {
            while let Some(ended) = loops.join_next().await {
                if !shutdown.is_cancelled() {
                    // A loop that is gone would be the silent death of its share of
                    // the work: better to stop as a whole and be started again.
                    error!(?ended, "a loop of the engine has ended by itself: the engine stops");
                    shutdown.cancel();
                }
            }
        };
        let deadline = async {
            shutdown.cancelled().await;
            tokio::time::sleep(limits::DRAIN).await;
        };
        // What is not done by the deadline is aborted with the set.
        tokio::select! {
            biased;
            () = all => {}
            () = deadline => {}
        }
        info!("has stopped driving sagas");
    }
}

/// A way out: what goes in is published and acknowledged in its order.
fn stage<T: Transport>(
    transport: &T,
    watermark: &watch::Receiver<Watermark>,
) -> (mpsc::Sender<Outgoing>, impl Future<Output = ()> + Send + use<T>) {
    let (sender, receiver) = mpsc::channel(limits::BATCHES_IN_CONFIRMATION);
    (sender, confirm(transport.clone(), watermark.clone(), receiver))
}
