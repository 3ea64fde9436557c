//! The sagas that this process wrote last, so that turns under low load do not have to read them.
//!
//! Only a decision that writes may rely on this memory, because its write checks the version
//! (protocol 1). A saga that is not remembered, or that another orchestrator has changed, is read
//! under its lock.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use saga_core::{Failure, Instance, SagaId, Timestamp};
use saga_engine::Write;
use saga_postgres::Incarnation;
use sha2::{Digest as _, Sha256};

use crate::row;

/// Most sagas in the memory, at a few KiB each. If there would be more, all are forgotten, which
/// costs one read of each saga.
const MOST_SAGAS: usize = 16_384;
/// Longest time for which the database's time is extrapolated before it must be read again.
const CLOCK_GOOD_FOR: Duration = Duration::from_secs(1);
/// Number of turns that read their rows after another process was found to have changed a row. With
/// several orchestrators that is likely to recur: the replies of one saga arrive at all of them.
const DISTRUST: u32 = 64;

/// The sagas that this process wrote last. The default value remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Memory {
    remembers: bool,
    sagas: Mutex<HashMap<SagaId, Remembered>>,
    /// The database's time, and the local time when that answer arrived. So the time that is
    /// extrapolated from them is never ahead of the database's clock.
    clock: Mutex<Option<(Timestamp, Instant)>>,
    distrust: AtomicU32,
    incarnation: Incarnation,
    /// Number of changes of the database after which everything was forgotten last.
    changes: AtomicU64,
}

/// A saga as this process wrote it last.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub(super) saga: Instance,
    /// Hash of the row's content. After a failover, the version alone does not identify a row: a
    /// database that has lost its last second may give the same version to other content.
    pub(super) content: Content,
}

/// Hash of a row's progress and data.
pub(super) type Content = Vec<u8>;

/// Computes the same hash of a row as the statement in `update.rs`.
fn content(saga: &Instance) -> Result<Content, Failure> {
    let mut hash = Sha256::new();
    hash.update(row::progress(saga)?);
    hash.update(saga.data.get());
    Ok(hash.finalize().to_vec())
}

impl Memory {
    /// Makes a memory that remembers rows of this incarnation of the database.
    pub(super) fn of(incarnation: Incarnation) -> Self {
        let changes = AtomicU64::new(incarnation.changes());
        Self { remembers: true, incarnation, changes, ..Self::default() }
    }

    /// Returns all of these sagas as this process wrote them last, in the order of their ids, which
    /// is the order of all locks. Returns `None` if they must be read.
    pub(super) fn all(&self, ids: &[SagaId]) -> Option<(Timestamp, Vec<Remembered>)> {
        let changes = self.incarnation.changes();
        if self.changes.swap(changes, Ordering::Relaxed) != changes {
            self.lost_touch();
        }
        let now = self.now()?;
        // Several loops may count down at once, and must not count below zero.
        let left = |left: u32| left.checked_sub(1);
        if self.distrust.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok() {
            return None;
        }
        let sagas = lock(&self.sagas);
        let known: Option<Vec<Remembered>> = ids.iter().map(|id| sagas.get(id).cloned()).collect();
        let mut known = known?;
        known.sort_unstable_by_key(|known| known.saga.id);
        Some((now, known))
    }

    /// Returns the database's time, if it was read recently.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let (told, heard) = (*lock(&self.clock))?;
        let since = heard.elapsed();
        let micros = i64::try_from(since.as_micros()).ok()?;
        (since < CLOCK_GOOD_FOR).then_some(Timestamp(told.0.saturating_add(micros)))
    }

    /// Records the database's time.
    pub(super) fn heard(&self, now: Timestamp) {
        if self.remembers {
            *lock(&self.clock) = Some((now, Instant::now()));
        }
    }

    /// Records writes that were just committed. Removes ended sagas: they are not written again.
    pub(super) fn committed(&self, writes: &[Write]) {
        if !self.remembers {
            return;
        }
        let mut sagas = lock(&self.sagas);
        if sagas.len() + writes.len() > MOST_SAGAS {
            sagas.clear();
        }
        for Write { saga, .. } in writes {
            let content = if saga.ended().is_none() { content(saga).ok() } else { None };
            match content {
                Some(content) => {
                    sagas.insert(saga.id, Remembered { saga: saga.clone(), content });
                }
                None => {
                    sagas.remove(&saga.id);
                }
            }
        }
    }

    /// Forgets these sagas, because their rows may have changed (protocol 2).
    pub(super) fn forget(&self, ids: &[SagaId]) {
        let mut sagas = lock(&self.sagas);
        for id in ids {
            sagas.remove(id);
        }
    }

    /// Forgets everything, because the database could not be reached. The server that answers next
    /// may have lost the last commits.
    pub(super) fn lost_touch(&self) {
        lock(&self.sagas).clear();
        *lock(&self.clock) = None;
    }

    /// Records that another process has changed a saga.
    pub(super) fn distrust(&self) {
        self.distrust.store(DISTRUST, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while holding it")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two loops count down the last distrusted turn at once.
    #[test]
    fn distrust_ends_however_many_loops_count_it_down() {
        let memory = Memory::of(Incarnation::default());
        memory.heard(Timestamp(1));
        memory.distrust();
        std::thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| (0..DISTRUST).for_each(|_| drop(memory.all(&[]))));
            }
        });
        assert!(memory.all(&[]).is_some(), "{}", memory.distrust.load(Ordering::Relaxed));
    }
}
