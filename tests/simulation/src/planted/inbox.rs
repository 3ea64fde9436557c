//! Bugs in a participant's store.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use saga_core::{Failure, Record, SagaId, Watermark};
use saga_kit::{Entry, Key, Locked, Pruned, Store};
use saga_messaging::Outcome;

use super::Planted;
use crate::{check::Checks, sim::lock};

/// A participant's store with a planted bug.
#[derive(Clone)]
pub(crate) struct PlantedInbox<S> {
    inner: S,
    planted: Option<Planted>,
    /// True if the last batch failed.
    failed: Arc<AtomicBool>,
    checks: Arc<Checks>,
    /// The steps whose undo is hidden in the open transaction.
    hidden: Arc<Mutex<Vec<Key>>>,
}

impl<S> PlantedInbox<S> {
    pub(crate) fn new(inner: S, planted: Option<Planted>, checks: Arc<Checks>) -> Self {
        Self { inner, planted, failed: Arc::default(), checks, hidden: Arc::default() }
    }
}

impl<S: Store> Store for PlantedInbox<S> {
    type Tx = S::Tx;

    async fn begin(&self) -> Result<S::Tx, Failure> {
        self.inner.begin().await
    }

    async fn lock(&self, tx: &mut S::Tx, keys: &[Key]) -> Result<Locked, Failure> {
        let locked = self.inner.lock(tx, keys).await;
        let mut locked = match (self.planted, locked) {
            (Some(Planted::SlowBatchIsTriedAgainWhole), Err(Failure::Conflict(why))) => {
                return Err(Failure::Unavailable(why));
            }
            (_, locked) => locked?,
        };
        lock(&self.hidden).clear();
        for (key, record) in keys.iter().zip(&mut locked.records) {
            let answered = record.action.as_ref().is_some_and(|action| action.answer.is_some());
            match self.planted {
                Some(Planted::UndoneIsToldAsDone)
                    if answered
                        && record.compensation.is_some()
                        && self.checks.touched(key.saga) =>
                {
                    record.compensation = None;
                    lock(&self.hidden).push(key.clone());
                }
                Some(Planted::NoDeduplication) => *record = Record::default(),
                Some(Planted::ActionAfterItsTombstone) if record.action.is_none() => {
                    record.compensation = None;
                }
                Some(_) | None => {}
            }
        }
        Ok(locked)
    }

    async fn record(&self, tx: &mut S::Tx, entries: &[Entry]) -> Result<(), Failure> {
        let mut entries = entries.to_vec();
        match self.planted {
            Some(Planted::RefusalIsDone) => {
                for answer in entries.iter_mut().filter_map(|entry| entry.answer.as_mut()) {
                    answer.outcome = Outcome::Done;
                }
            }
            Some(Planted::BatchMemberNotRecorded) if entries.len() > 1 => {
                entries.pop();
            }
            Some(Planted::NeighboursForgotten)
                if entries.len() > 1 && self.failed.swap(false, Ordering::Relaxed) =>
            {
                entries.truncate(1);
            }
            Some(Planted::UndoneIsToldAsDone) => {
                let hidden = lock(&self.hidden);
                entries.retain(|entry| !hidden.contains(&entry.key));
            }
            Some(_) | None => {}
        }
        self.inner.record(tx, &entries).await
    }

    async fn raise(&self, watermark: Watermark, age: Duration) -> Result<Watermark, Failure> {
        let age = match self.planted {
            Some(Planted::AnyWatermarkIsBelieved) => Duration::ZERO,
            Some(_) | None => age,
        };
        self.inner.raise(watermark, age).await
    }

    async fn prune(&self, from: SagaId, below: Watermark, limit: usize) -> Result<Pruned, Failure> {
        self.inner.prune(from, below, limit).await
    }

    const SETTLING: Duration = S::SETTLING;

    async fn commit(&self, tx: S::Tx) -> Result<(), Failure> {
        match self.planted {
            Some(Planted::AnsweredBeforeCommit) => {
                let inner = self.inner.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    let _ = inner.commit(tx).await;
                });
                Ok(())
            }
            Some(Planted::UnknownCommitIsDone) => match self.inner.commit(tx).await {
                Err(Failure::UnknownCommit(_)) => Ok(()),
                committed => committed,
            },
            Some(_) | None => {
                let committed = self.inner.commit(tx).await;
                self.failed.store(committed.is_err(), Ordering::Relaxed);
                committed
            }
        }
    }
}
