//! What this process wrote last, so that a turn at rest need not read it again.
//!
//! Only a decision that writes may rest on it, because the write checks the version
//! (protocol 1). Whatever is not known here, or was moved on by another orchestrator, is
//! read under its lock.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use saga_core::{Instance, SagaId, Timestamp};
use saga_engine::Write;

/// Most sagas that are remembered: a few KiB each. Beyond it everything is forgotten, which
/// costs a read a saga.
const MOST_SAGAS: usize = 16_384;
/// How long the database's clock is extrapolated before it is asked again.
const CLOCK_GOOD_FOR: Duration = Duration::from_secs(1);
/// How many turns read their rows after one that found a row moved on by somebody else.
/// With several orchestrators the replies of one saga come to all of them.
const DISTRUST: u32 = 64;

/// What this process wrote last. By default it remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Memory {
    remembers: bool,
    sagas: Mutex<HashMap<SagaId, Instance>>,
    /// The database's clock, and when its answer came: so an instant that is told from it
    /// is never ahead of the database's own.
    clock: Mutex<Option<(Timestamp, Instant)>>,
    distrust: AtomicU32,
}

impl Memory {
    /// One that remembers.
    pub(super) fn new() -> Self {
        Self { remembers: true, ..Self::default() }
    }

    /// All of these sagas as this process wrote them last, in the order of their ids, in
    /// which everybody locks. `None`: they must be read.
    pub(super) fn all(&self, ids: &[SagaId]) -> Option<(Timestamp, Vec<Instance>)> {
        let now = self.now()?;
        if self.distrust.load(Ordering::Relaxed) > 0 {
            self.distrust.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let sagas = lock(&self.sagas);
        let known: Option<Vec<Instance>> = ids.iter().map(|id| sagas.get(id).cloned()).collect();
        let mut known = known?;
        known.sort_unstable_by_key(|saga| saga.id);
        Some((now, known))
    }

    /// The database's clock, if it was heard lately.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let (told, heard) = (*lock(&self.clock))?;
        let since = heard.elapsed();
        let micros = i64::try_from(since.as_micros()).ok()?;
        (since < CLOCK_GOOD_FOR).then_some(Timestamp(told.0.saturating_add(micros)))
    }

    /// The database has told its time.
    pub(super) fn heard(&self, now: Timestamp) {
        if self.remembers {
            *lock(&self.clock) = Some((now, Instant::now()));
        }
    }

    /// These were committed just now. An ended saga is not written again.
    pub(super) fn committed(&self, writes: &[Write]) {
        if !self.remembers {
            return;
        }
        let mut sagas = lock(&self.sagas);
        if sagas.len() + writes.len() > MOST_SAGAS {
            sagas.clear();
        }
        for Write { saga, .. } in writes {
            if saga.ended().is_some() {
                sagas.remove(&saga.id);
            } else {
                sagas.insert(saga.id, saga.clone());
            }
        }
    }

    /// Whatever became of them, it is not known here any more (protocol 2).
    pub(super) fn forget(&self, ids: &[SagaId]) {
        let mut sagas = lock(&self.sagas);
        for id in ids {
            sagas.remove(id);
        }
    }

    /// Somebody else moved one of them on.
    pub(super) fn distrust(&self) {
        self.distrust.store(DISTRUST, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while holding it")
}
