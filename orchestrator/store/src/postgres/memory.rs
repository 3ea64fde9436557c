//! The sagas that this process wrote last, so that a turn under low load need not read them again.
//!
//! Only a decision that writes may rely on this memory, because the write checks the version
//! (protocol 1). A saga that is not known here, or that another orchestrator has moved on, is read
//! under its lock.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use saga_core::{Failure, Instance, SagaId, Timestamp};
use saga_engine::Write;
use sha2::{Digest as _, Sha256};

use crate::row;

/// Most sagas in the memory, at a few KiB each. Beyond that everything is forgotten, which costs
/// one read of each saga.
const MOST_SAGAS: usize = 16_384;
/// Time for which the database's clock is extrapolated before it is read again.
const CLOCK_GOOD_FOR: Duration = Duration::from_secs(1);
/// Number of turns that read their rows after one found a row that somebody else had moved on. With
/// several orchestrators, the replies of one saga come to all of them.
const DISTRUST: u32 = 64;

/// The sagas that this process wrote last. By default it remembers nothing.
#[derive(Debug, Default)]
pub(super) struct Memory {
    remembers: bool,
    sagas: Mutex<HashMap<SagaId, Remembered>>,
    /// The database's clock, and the local time when the answer arrived. An instant that is
    /// extrapolated from them is therefore never ahead of the database's clock.
    clock: Mutex<Option<(Timestamp, Instant)>>,
    distrust: AtomicU32,
}

/// A saga as this process wrote it last.
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    pub(super) saga: Instance,
    /// Hash of the row's content. A version alone does not tell rows apart after a failover: a
    /// database that has lost its last second hands the same version out again.
    pub(super) content: Content,
}

/// Hash of a row's progress and data.
pub(super) type Content = Vec<u8>;

/// The hash that the statement of `update.rs` computes of a row.
fn content(saga: &Instance) -> Result<Content, Failure> {
    let mut hash = Sha256::new();
    hash.update(row::progress(saga)?);
    hash.update(saga.data.get());
    Ok(hash.finalize().to_vec())
}

impl Memory {
    /// A memory that remembers.
    pub(super) fn new() -> Self {
        Self { remembers: true, ..Self::default() }
    }

    /// All of these sagas as this process wrote them last, in the order of their ids, which is the
    /// order of all locks. `None`: they must be read.
    pub(super) fn all(&self, ids: &[SagaId]) -> Option<(Timestamp, Vec<Remembered>)> {
        let now = self.now()?;
        // Several loops count down at once, and none may count below zero.
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

    /// The database's clock, if it was read recently.
    pub(super) fn now(&self) -> Option<Timestamp> {
        let (told, heard) = (*lock(&self.clock))?;
        let since = heard.elapsed();
        let micros = i64::try_from(since.as_micros()).ok()?;
        (since < CLOCK_GOOD_FOR).then_some(Timestamp(told.0.saturating_add(micros)))
    }

    /// Records the database's clock.
    pub(super) fn heard(&self, now: Timestamp) {
        if self.remembers {
            *lock(&self.clock) = Some((now, Instant::now()));
        }
    }

    /// Records writes that were just committed. An ended saga is not kept: it is not written again.
    pub(super) fn committed(&self, writes: &[Write]) {
        if !self.remembers {
            return;
        }
        let mut sagas = lock(&self.sagas);
        if sagas.len() + writes.len() > MOST_SAGAS {
            sagas.clear();
        }
        for Write { saga, .. } in writes {
            match content(saga) {
                Ok(content) if saga.ended().is_none() => {
                    sagas.insert(saga.id, Remembered { saga: saga.clone(), content });
                }
                Ok(_) | Err(_) => {
                    sagas.remove(&saga.id);
                }
            }
        }
    }

    /// Forgets these sagas, because their state is no longer known here (protocol 2).
    pub(super) fn forget(&self, ids: &[SagaId]) {
        let mut sagas = lock(&self.sagas);
        for id in ids {
            sagas.remove(id);
        }
    }

    /// Forgets everything, because the database could not be reached: whoever answers next may have
    /// lost what was committed last.
    pub(super) fn lost_touch(&self) {
        lock(&self.sagas).clear();
        *lock(&self.clock) = None;
    }

    /// Records that somebody else has moved a saga on.
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

    /// Two loops meet the last distrusted turn at once.
    #[test]
    fn distrust_ends_however_many_loops_count_it_down() {
        let memory = Memory::new();
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
