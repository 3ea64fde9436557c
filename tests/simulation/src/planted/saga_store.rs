//! Bugs in the store of the sagas.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use saga_core::{Failure, HistoryEntry, Instance, SagaId, Timestamp, Watermark};
use saga_engine::{
    Admission, Census, Handled, Horizon, IdempotencyKey, Inspected, ListFilter, NewQuarantined,
    Pruned, QuarantineFilter, Quarantined, Range, Retention, SagaReads, SagaStore, Write,
};

use super::Planted;
use crate::sim::lock;

/// A store with a planted bug.
#[derive(Clone)]
pub(crate) struct PlantedStore<S> {
    inner: S,
    planted: Option<Planted>,
    /// Each row as it was first read, with the time of the store's clock at that read.
    cache: Arc<Mutex<BTreeMap<SagaId, (Timestamp, Instance)>>>,
}

impl<S> PlantedStore<S> {
    pub(crate) fn new(inner: S, planted: Option<Planted>) -> Self {
        Self { inner, planted, cache: Arc::default() }
    }

    /// Decides a turn on rows that were read long ago. Returns `None` if one of them was never
    /// read.
    fn cached<R>(
        &self,
        ids: &[SagaId],
        decide: &impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R),
    ) -> Option<R> {
        let (mut sagas, mut now) = (Vec::new(), None);
        for id in ids {
            let (at, saga) = lock(&self.cache).get(id).cloned()?;
            now = Some(at);
            sagas.push(saga);
        }
        let (writes, result) = decide(now?, sagas);
        writes.is_empty().then_some(result)
    }
}

impl<S: SagaStore> SagaStore for PlantedStore<S> {
    async fn admit<R: Send>(
        &self,
        keys: &[IdempotencyKey],
        decide: impl Fn(Timestamp, &[usize]) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<(Vec<Admission>, Option<R>), Failure> {
        let mut keys = keys.to_vec();
        if self.planted == Some(Planted::KeysBindNothing) {
            for key in &mut keys {
                key.key = format!("{}-{}", key.key, key.saga);
            }
        }
        self.inner.admit(&keys, decide).await
    }

    async fn known(&self, keys: &[IdempotencyKey]) -> Result<Vec<Option<Admission>>, Failure> {
        self.inner.known(keys).await
    }

    async fn turn<R: Send>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        match self.planted {
            Some(Planted::StaleCacheSwallowsReplies) => {
                if let Some(result) = self.cached(ids, &decide) {
                    return Ok(result);
                }
                let decide = |now: Timestamp, sagas: Vec<Instance>| {
                    let rows = sagas.iter().map(|saga| (saga.id, (now, saga.clone())));
                    lock(&self.cache).extend(rows);
                    decide(now, sagas)
                };
                self.inner.turn(ids, decide).await
            }
            Some(Planted::WokenTooLate) => {
                let decide = |now: Timestamp, sagas: Vec<Instance>| {
                    let (mut writes, result) = decide(now, sagas);
                    for write in &mut writes {
                        write.saga.wake_at = write.saga.wake_at.map(|at| at.plus_millis(60_000));
                    }
                    (writes, result)
                };
                self.inner.turn(ids, decide).await
            }
            Some(Planted::CommandedBeforeCommit) => {
                let writes = Mutex::new(Vec::new());
                let decide = |now: Timestamp, sagas: Vec<Instance>| {
                    let (decided, result) = decide(now, sagas);
                    *lock(&writes) = decided;
                    (Vec::new(), result)
                };
                let result = self.inner.turn(ids, decide).await?;
                let (inner, ids) = (self.inner.clone(), ids.to_vec());
                let writes = std::mem::take(&mut *lock(&writes));
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    let _ = inner.turn(&ids, |_, _| (writes.clone(), ())).await;
                });
                Ok(result)
            }
            Some(Planted::SlowTurnIsTriedAgainWhole) => match self.inner.turn(ids, decide).await {
                Err(Failure::Conflict(why)) => Err(Failure::Unavailable(why)),
                turned => turned,
            },
            Some(_) | None => self.inner.turn(ids, decide).await,
        }
    }

    async fn claim<R: Send>(
        &self,
        definitions: &[(&'static str, u32)],
        limit: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        let sleeps_on = self.planted == Some(Planted::SleepsAsAFastClockSaid);
        let decide = |now: Timestamp, mut sagas: Vec<Instance>| {
            sagas.retain(|saga| !sleeps_on || saga.wake_at.is_some_and(|at| at <= now));
            decide(now, sagas)
        };
        self.inner.claim(definitions, limit, decide).await
    }

    async fn quarantine(&self, messages: &[NewQuarantined]) -> Result<(), Failure> {
        let mut messages = messages.to_vec();
        for NewQuarantined { id, .. } in &mut messages {
            match (self.planted, id.split_once('/')) {
                (Some(Planted::ReplyIsKeptAsItsCommand), Some(_)) => {
                    *id = id.trim_end_matches("/reply").to_owned();
                }
                (Some(Planted::UnnamedShareOneRow), None) => "unnamed".clone_into(id),
                (_, _) => {}
            }
        }
        self.inner.quarantine(&messages).await
    }

    async fn handle<R: Send>(
        &self,
        message: &str,
        saga: Option<SagaId>,
        decide: impl Fn(Inspected) -> (Option<Handled>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        self.inner.handle(message, saga, decide).await
    }
}

impl<S: Retention> Retention for PlantedStore<S> {
    async fn advance(&self, retention_millis: u64) -> Result<Horizon, Failure> {
        self.inner.advance(retention_millis).await
    }

    async fn watermark(&self) -> Result<Watermark, Failure> {
        self.inner.watermark().await
    }

    async fn prune(&self, range: &Range) -> Result<Pruned, Failure> {
        self.inner.prune(range).await
    }
}

impl<S: SagaReads> SagaReads for PlantedStore<S> {
    async fn find(&self, ids: &[SagaId]) -> Result<Vec<Instance>, Failure> {
        let found = self.inner.find(ids).await?;
        if self.planted == Some(Planted::OneRowFailsAll) && found.len() < ids.len() {
            return Err(Failure::Permanent("a row does not decode".to_owned()));
        }
        Ok(found)
    }

    async fn versions(&self, ids: &[SagaId]) -> Result<Vec<(SagaId, u64, bool)>, Failure> {
        self.inner.versions(ids).await
    }

    async fn history(&self, id: SagaId, after: u64) -> Result<Vec<HistoryEntry>, Failure> {
        self.inner.history(id, after).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<Instance>, Failure> {
        self.inner.list(filter).await
    }

    async fn in_flight(&self) -> Result<u64, Failure> {
        self.inner.in_flight().await
    }

    async fn quarantined(&self, filter: &QuarantineFilter) -> Result<Vec<Quarantined>, Failure> {
        self.inner.quarantined(filter).await
    }

    async fn census(&self) -> Result<Census, Failure> {
        self.inner.census().await
    }
}
