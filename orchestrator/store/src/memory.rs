//! The sagas that this process wrote last, so that turns under low load do not have to read them.
//!
//! Only a decision that writes may rely on this memory, because its write checks the version
//! (protocol 1). A saga that is not remembered, or that another orchestrator has changed, is read
//! under its lock.
//!
//! The memory contains no statement. A turn over remembered sagas has two halves, and its store
//! writes between them: [`Memory::decide`] and [`Memory::written`].

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use saga_core::{Failure, Instance, SagaId, Timestamp};
use saga_engine::Write;
use saga_postgres::Incarnation;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::row;

/// Maximum number of sagas in the memory, at a few KiB each. If there would be more, all are
/// forgotten, which costs one read of each saga.
const MOST_SAGAS: usize = 16_384;
/// Longest time for which the database's time is extrapolated before it must be read again.
const CLOCK_GOOD_FOR: Duration = Duration::from_secs(1);
/// Number of turns that read their rows after another process was found to have changed a row. With
/// several orchestrators that is likely to recur: the replies of one saga arrive at all of them.
const DISTRUST: u32 = 64;

/// The sagas that this process wrote last. The default value remembers nothing.
#[derive(Debug, Default)]
pub struct Memory {
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
struct Remembered {
    saga: Instance,
    content: Content,
}

/// Hash of a row's progress and data. After a failover, the version alone does not identify a row:
/// a database that has lost its last second may give the same version to other content.
pub type Content = Vec<u8>;

/// A decision over remembered sagas, to be written by one statement that checks every version and
/// every content.
#[derive(Debug)]
pub struct Decided<R> {
    /// The writes.
    pub writes: Vec<Write>,
    /// For each write, the content that its row must have.
    pub content: Vec<Content>,
    result: R,
}

/// Computes the hash of a row's content, as the statement in `postgres/update.rs` does.
///
/// # Errors
/// [`Failure::Permanent`] if the row cannot be encoded.
pub fn content(saga: &Instance) -> Result<Content, Failure> {
    let mut hash = Sha256::new();
    hash.update(row::progress(saga)?);
    hash.update(saga.data.get());
    Ok(hash.finalize().to_vec())
}

impl Memory {
    /// Makes a memory that remembers.
    #[must_use]
    pub fn new() -> Self {
        Self { remembers: true, ..Self::default() }
    }

    /// Makes a memory that remembers rows of this incarnation of the database.
    #[must_use]
    pub fn of(incarnation: Incarnation) -> Self {
        let changes = AtomicU64::new(incarnation.changes());
        Self { incarnation, changes, ..Self::new() }
    }

    /// Decides on remembered sagas. Returns `None` if the rows must be read instead: one is not
    /// remembered, or `decide` would leave one unwritten, so that its version would not be checked.
    pub fn decide<R>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R),
    ) -> Option<Decided<R>> {
        let (now, known) = self.all(ids)?;
        let content: HashMap<SagaId, Content> =
            known.iter().map(|known| (known.saga.id, known.content.clone())).collect();
        let (writes, result) = decide(now, known.into_iter().map(|known| known.saga).collect());
        let checked = writes.len() == ids.len() && writes.iter().all(|w| w.saga.version > w.before);
        if !checked {
            return None;
        }
        let content = writes.iter().filter_map(|write| content.get(&write.saga.id).cloned());
        Some(Decided { content: content.collect(), writes, result })
    }

    /// Takes note of what became of the statement that wrote a decision: it returned the database's
    /// time, or a failure. Returns `None` if the rows must be read, because another process has
    /// changed one.
    ///
    /// # Errors
    /// The failure. The statement was a transaction by itself, so after [`Failure::Unavailable`]
    /// the outcome of its commit is unknown.
    pub fn written<R>(
        &self,
        decided: Decided<R>,
        outcome: Result<Timestamp, Failure>,
    ) -> Result<Option<R>, Failure> {
        let Decided { writes, result, .. } = decided;
        let failure = match outcome {
            Ok(now) => {
                self.heard(now);
                self.committed(&writes);
                return Ok(Some(result));
            }
            Err(failure) => failure,
        };
        let ids: Vec<SagaId> = writes.iter().map(|write| write.saga.id).collect();
        self.forget(&ids);
        match failure {
            Failure::Conflict(_) => {
                self.distrust();
                Ok(None)
            }
            Failure::Unavailable(text) => Err(Failure::UnknownCommit(text)),
            Failure::UnknownCommit(_) | Failure::Permanent(_) => Err(failure),
        }
    }

    /// Forgets all remembered rows if the work could not reach the database, or may have lost a
    /// commit (protocol 2).
    ///
    /// # Errors
    /// The failure of the work.
    pub async fn in_touch<R>(
        &self,
        work: impl Future<Output = Result<R, Failure>>,
    ) -> Result<R, Failure> {
        // Boxed, because a transaction is large as a future, and every caller would hold it.
        let result = Box::pin(work).await;
        if let Err(Failure::Unavailable(_) | Failure::UnknownCommit(_)) = &result {
            self.lost_touch();
        }
        result
    }

    /// Returns all of these sagas as this process wrote them last, in the order of their ids, which
    /// is the order of all locks. Returns `None` if they must be read.
    fn all(&self, ids: &[SagaId]) -> Option<(Timestamp, Vec<Remembered>)> {
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
    #[must_use]
    pub fn now(&self) -> Option<Timestamp> {
        let (told, heard) = (*lock(&self.clock))?;
        let since = heard.elapsed();
        let micros = i64::try_from(since.as_micros()).ok()?;
        (since < CLOCK_GOOD_FOR).then_some(Timestamp(told.0.saturating_add(micros)))
    }

    /// Records the database's time.
    pub fn heard(&self, now: Timestamp) {
        if self.remembers {
            *lock(&self.clock) = Some((now, Instant::now()));
        }
    }

    /// Records writes that were just committed. Removes ended sagas: they are not written again.
    pub fn committed(&self, writes: &[Write]) {
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
    pub fn forget(&self, ids: &[SagaId]) {
        let mut sagas = lock(&self.sagas);
        for id in ids {
            sagas.remove(id);
        }
    }

    /// Forgets everything, because the database could not be reached. The server that answers next
    /// may have lost the last commits.
    fn lost_touch(&self) {
        lock(&self.sagas).clear();
        *lock(&self.clock) = None;
    }

    /// Records that another process has changed a saga.
    fn distrust(&self) {
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
