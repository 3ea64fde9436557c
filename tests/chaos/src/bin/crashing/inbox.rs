//! Crash points around a participant's commits.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
};

use saga_core::{Direction, Failure};
use saga_kit::{Entry, Key, Locked, Store};
use saga_taps::InboxTap;
use tokio::task;

use crate::point::{Crash, Point, pass};

/// A participant's store, with crash points. A transaction that records nothing passes none of
/// them.
#[derive(Clone)]
pub(super) struct CrashingInbox<S> {
    store: S,
    watched: Option<Watched>,
}

/// The state of the open transactions. The transaction type must stay the store's own, because
/// handlers use it, so the state is kept here. A task has at most one transaction, so the task's id
/// identifies the transaction.
#[derive(Clone)]
struct Watched {
    crash: Crash,
    open: Arc<Mutex<HashMap<Option<task::Id>, Open>>>,
}

/// The state of one open transaction.
#[derive(Default)]
struct Open {
    /// Locked keys with an intent on record and no answer.
    intents: HashSet<(Key, Direction)>,
    recorded: Option<Recorded>,
}

/// The kind of records that a transaction writes. Each kind has its own crash points.
#[derive(Clone, Copy)]
enum Recorded {
    Answers,
    /// The transaction records at least one intent.
    Intent,
    /// The transaction records no intent, and at least one answer to an earlier intent.
    Settlement,
}

impl<S> CrashingInbox<S> {
    pub(super) fn new(store: S, crash: Option<Crash>) -> Self {
        Self { store, watched: crash.map(|crash| Watched { crash, open: Arc::default() }) }
    }
}

impl Watched {
    fn open(&self) -> MutexGuard<'_, HashMap<Option<task::Id>, Open>> {
        self.open.lock().expect("nobody panics while holding it")
    }

    fn locked(&self, keys: &[Key], locked: &Locked) {
        let mut open = self.open();
        let transaction = open.entry(task::try_id()).or_default();
        for (key, record) in keys.iter().zip(&locked.records) {
            let parts = [
                (Direction::Action, &record.action),
                (Direction::Compensation, &record.compensation),
            ];
            for (direction, part) in parts {
                if part.as_ref().is_some_and(|part| part.answer.is_none()) {
                    transaction.intents.insert((key.clone(), direction));
                }
            }
        }
    }

    fn recorded(&self, entries: &[Entry]) -> Recorded {
        let mut open = self.open();
        let transaction = open.entry(task::try_id()).or_default();
        let settles = |entry: &Entry| {
            entry.answer.is_some()
                && transaction.intents.contains(&(entry.key.clone(), entry.direction))
        };
        let recorded = if entries.iter().any(|entry| entry.answer.is_none()) {
            Recorded::Intent
        } else if entries.iter().any(settles) {
            Recorded::Settlement
        } else {
            Recorded::Answers
        };
        *transaction.recorded.insert(recorded)
    }
}

impl Recorded {
    fn before(self) -> Point {
        match self {
            Self::Answers => Point::BeforeBatchCommit,
            Self::Intent => Point::BeforeIntentCommit,
            Self::Settlement => Point::BeforeSettlementCommit,
        }
    }

    fn after(self) -> Point {
        match self {
            Self::Answers => Point::AfterBatchCommit,
            Self::Intent => Point::AfterIntentCommit,
            Self::Settlement => Point::AfterSettlementCommit,
        }
    }
}

impl<S: Store> InboxTap for CrashingInbox<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.store
    }

    async fn begin(&self) -> Result<S::Tx, Failure> {
        if let Some(watched) = &self.watched {
            // An earlier transaction of this task may have been dropped without a commit.
            watched.open().remove(&task::try_id());
        }
        self.store.begin().await
    }

    async fn lock(&self, tx: &mut S::Tx, keys: &[Key]) -> Result<Locked, Failure> {
        let locked = self.store.lock(tx, keys).await?;
        if let Some(watched) = &self.watched {
            watched.locked(keys, &locked);
        }
        Ok(locked)
    }

    async fn record(&self, tx: &mut S::Tx, entries: &[Entry]) -> Result<(), Failure> {
        self.store.record(tx, entries).await?;
        if let Some(watched) = &self.watched {
            // Recording is the last step before the commit.
            pass(Some(&watched.crash), watched.recorded(entries).before());
        }
        Ok(())
    }

    async fn commit(&self, tx: S::Tx) -> Result<(), Failure> {
        self.store.commit(tx).await?;
        if let Some(watched) = &self.watched {
            let transaction = watched.open().remove(&task::try_id());
            if let Some(recorded) = transaction.and_then(|transaction| transaction.recorded) {
                pass(Some(&watched.crash), recorded.after());
            }
        }
        Ok(())
    }
}
