//! The port to the database that records answers.

use std::{future::Future, time::Duration};

use saga_core::{Direction, Failure, Record, SagaId, Timestamp, Watermark};

use crate::Recorded;

/// A participant's database. One transaction contains both the business effect and the recorded
/// answers.
pub trait Store: Clone + Send + Sync + 'static {
    /// An open transaction. If it is dropped, it is rolled back.
    type Tx: Send + 'static;

    /// The database system's name in traces.
    const SYSTEM: &'static str = "other_sql";

    /// Begins a transaction.
    fn begin(&self) -> impl Future<Output = Result<Self::Tx, Failure>> + Send;

    /// Locks the rows of these keys, and creates those that are missing. The keys are sorted and
    /// distinct. Until the transaction ends, any other one that locks one of these keys waits.
    fn lock(
        &self,
        tx: &mut Self::Tx,
        keys: &[Key],
    ) -> impl Future<Output = Result<Locked, Failure>> + Send;

    /// Writes entries of commands whose rows are locked.
    fn record(
        &self,
        tx: &mut Self::Tx,
        entries: &[Entry],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Raises the stored watermark durably, and returns the one that is stored afterwards. It never
    /// goes back. A watermark that is not at least `age` behind the database's own clock is not
    /// stored.
    fn raise(
        &self,
        watermark: Watermark,
        age: Duration,
    ) -> impl Future<Output = Result<Watermark, Failure>> + Send;

    /// Deletes at most `limit` rows of records: of sagas from `from` on and below `below`, provided
    /// that the stored watermark is at least as high. Skips rows that others have locked.
    fn prune(
        &self,
        from: SagaId,
        below: Watermark,
        limit: usize,
    ) -> impl Future<Output = Result<Pruned, Failure>> + Send;

    /// Time for which a watermark must be durable before records below it are deleted: the longest
    /// time that a [`Store::lock`] may take. So no action can read the old watermark and then miss
    /// its tombstone.
    const SETTLING: Duration;

    /// Commits. Returns [`Failure::UnknownCommit`] if the answer to the commit is lost.
    fn commit(&self, tx: Self::Tx) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The key of a row: the row is shared by a step's action and compensation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The saga.
    pub saga: SagaId,
    /// The saga's step.
    pub step: String,
}

/// The result of locking rows.
#[derive(Clone, Debug)]
pub struct Locked {
    /// The time on the database's clock.
    pub now: Timestamp,
    /// The stored watermark. Commands of sagas below it must not be run: their records may be
    /// deleted.
    pub watermark: Watermark,
    /// The record of each key, in the order of the keys.
    pub records: Vec<Record<Recorded>>,
}

/// The new content of a row's part for one direction.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key of the row.
    pub key: Key,
    /// The direction of the command.
    pub direction: Direction,
    /// Hash of the command's type and payload.
    pub hash: Vec<u8>,
    /// The answer to the command. `None` if only an intent to call the outside world is recorded.
    pub answer: Option<Recorded>,
    /// [`Part::calls`](saga_core::Part::calls) of an action.
    pub calls: u32,
}

/// The result of deleting rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Number of rows that were deleted.
    pub rows: u64,
    /// The saga from which to continue; `None` if no rows are left.
    pub next: Option<SagaId>,
}
