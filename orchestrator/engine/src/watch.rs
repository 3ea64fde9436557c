//! Notifies those who wait for sagas. Hints may be lost, so the store is read as well. Hints may
//! also be forged, because every service may send them. So a saga whose hint was ahead of the store
//! gets no more reads for hints until the next tick.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
};

use saga_core::{Failure, Instance, SagaId};
use saga_messaging::{Changed, Transport, answered};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{SagaReads, Write, limits};

/// The latest known state of a saga that a caller waits for.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The saga's version; 0 until it is known.
    pub version: u64,
    /// The saga, if it has ended. An ended saga never changes.
    pub end: Option<Arc<Instance>>,
}

/// The sagas that callers in this process wait for.
#[derive(Clone, Default)]
pub struct Watches {
    sagas: Arc<Mutex<HashMap<SagaId, watch::Sender<Seen>>>>,
}

/// Waits for changes of one saga, until it is dropped.
pub struct Watched {
    id: SagaId,
    seen: Option<watch::Receiver<Seen>>,
    watches: Watches,
}

impl Watches {
    /// Begins to wait for a saga.
    #[must_use]
    pub fn watch(&self, id: SagaId) -> Watched {
        let mut sagas = self.lock();
        let sender = sagas.entry(id).or_insert_with(|| watch::channel(Seen::default()).0);
        Watched { id, seen: Some(sender.subscribe()), watches: self.clone() }
    }

    /// Notifies the callers who wait for sagas that this process has just committed.
    pub(crate) fn committed<'a>(&self, writes: impl IntoIterator<Item = &'a Write>) {
        let sagas = self.lock();
        if sagas.is_empty() {
            return;
        }
        for write in writes {
            if let Some(sender) = sagas.get(&write.saga.id) {
                let end = write.saga.ended().map(|_| Arc::new(write.saga.clone()));
                newer(sender, Seen { version: write.saga.version, end });
            }
        }
    }

    /// Reads the commits of other processes, at once after a hint and otherwise every second, until
    /// `shutdown`.
    pub(crate) async fn follow<R: SagaReads, T: Transport>(
        self,
        reads: R,
        transport: T,
        shutdown: CancellationToken,
    ) {
        let mut hints = transport.changes();
        let mut tick = tokio::time::interval(limits::WATCH_INTERVAL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // Sagas whose hints are ignored until the next tick.
        let mut doubted: BTreeSet<SagaId> = BTreeSet::new();
        loop {
            let (ids, hinted) = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                // The tick comes before the hints, because hints may arrive without a pause.
                _ = tick.tick() => {
                    doubted.clear();
                    (self.all(), BTreeMap::new())
                }
                hint = hints.recv() => match hint {
                    Ok(changed) => {
                        let hinted = self.news(&changed, &doubted);
                        (hinted.keys().copied().collect(), hinted)
                    }
                    // The next tick makes up for the hints that were lost.
                    Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => {
                        tokio::time::sleep(limits::WATCH_INTERVAL).await;
                        (self.all(), BTreeMap::new())
                    }
                },
            };
            if ids.is_empty() {
                continue;
            }
            match self.read(&reads, &ids).await {
                Ok(found) => {
                    let reached = |id: &SagaId, version: u64| {
                        found.get(id).is_some_and(|found| *found >= version)
                    };
                    let ahead = hinted.iter().filter(|(id, version)| !reached(id, **version));
                    doubted.extend(ahead.map(|(id, _)| *id));
                }
                Err(failure) => debug!(%failure, "waiters are told later"),
            }
        }
    }

    /// Reads the versions of these sagas, and the rows of those that have ended. Returns the
    /// versions.
    async fn read<R: SagaReads>(
        &self,
        reads: &R,
        ids: &[SagaId],
    ) -> Result<BTreeMap<SagaId, u64>, Failure> {
        let versions = answered(reads.versions(ids)).await?;
        let found = versions.iter().map(|(id, version, _)| (*id, *version)).collect();
        let (ended, open): (Vec<_>, Vec<_>) = versions.into_iter().partition(|(.., ended)| *ended);
        let ended: Vec<SagaId> = ended.into_iter().map(|(id, ..)| id).collect();
        // Sagas that go on are notified first, so that an ended saga that cannot be read delays no
        // others.
        {
            let sagas = self.lock();
            for (id, version, _) in open {
                if let Some(sender) = sagas.get(&id) {
                    newer(sender, Seen { version, end: None });
                }
            }
        }
        let ends = if ended.is_empty() { Vec::new() } else { answered(reads.find(&ended)).await? };
        let sagas = self.lock();
        for saga in ends {
            if let Some(sender) = sagas.get(&saga.id) {
                newer(sender, Seen { version: saga.version, end: Some(Arc::new(saga)) });
            }
        }
        Ok(found)
    }

    /// Returns the changed sagas that a caller waits for and whose new version is not known yet,
    /// without those in `doubted`.
    fn news(&self, changed: &[Changed], doubted: &BTreeSet<SagaId>) -> BTreeMap<SagaId, u64> {
        let sagas = self.lock();
        let news = |c: &&Changed| {
            sagas.get(&c.saga).is_some_and(|s| s.borrow().version < c.version)
                && !doubted.contains(&c.saga)
        };
        changed.iter().filter(news).map(|c| (c.saga, c.version)).collect()
    }

    fn all(&self) -> Vec<SagaId> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SagaId, watch::Sender<Seen>>> {
        self.sagas.lock().expect("nothing panics while holding it")
    }
}

fn newer(sender: &watch::Sender<Seen>, seen: Seen) {
    sender.send_if_modified(|known| {
        let newer = seen.version > known.version;
        if newer {
            *known = seen;
        }
        newer
    });
}

impl Watched {
    /// Returns the latest known state.
    ///
    /// # Panics
    /// Never: the receiver exists until this is dropped.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.as_ref().expect("there until it is dropped").borrow().clone()
    }

    /// Waits for a newer state than the one that the last call returned.
    ///
    /// # Panics
    /// Never: the receiver exists until this is dropped.
    pub async fn changed(&mut self) -> Seen {
        let seen = self.seen.as_mut().expect("there until it is dropped");
        // The sender stays in the map as long as this receiver exists.
        let _ = seen.changed().await;
        seen.borrow_and_update().clone()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.seen = None;
        let mut sagas = self.watches.lock();
        if sagas.get(&self.id).is_some_and(|sender| sender.receiver_count() == 0) {
            sagas.remove(&self.id);
        }
    }
}
