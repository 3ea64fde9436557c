//! The port that remembers answers.

use std::{future::Future, time::Duration};

use saga_core::{Direction, Failure, Record, SagaId, Timestamp, Watermark};

use crate::Recorded;

/// A participant's database: one transaction holds the recorded answers and the
/// business effect.
pub trait Store: Clone + Send + Sync + 'static {
    /// An open transaction. Dropped, it is undone.
    type Tx: Send + 'static;

    /// The database system's name in traces.
    const SYSTEM: &'static str = "other_sql";

    /// Begins a transaction.
    fn begin(&self) -> impl Future<Output = Result<Self::Tx, Failure>> + Send;

    /// Locks the rows of these keys, which are sorted and distinct, and creates those that are
    /// missing. Until the transaction ends, another one that locks any of these keys waits.
    fn lock(
        &self,
        tx: &mut Self::Tx,
        keys: &[Key],
    ) -> impl Future<Output = Result<Locked, Failure>> + Send;

    /// Writes the entries of commands whose rows are locked.
    fn record(
        &self,
        tx: &mut Self::Tx,
        entries: &[Entry],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Raises the watermark, durably, and returns the watermark that is now stored. It never goes
    /// back. One that is not at least `age` behind the database's own clock is not believed.
    fn raise(
        &self,
        watermark: Watermark,
        age: Duration,
    ) -> impl Future<Output = Result<Watermark, Failure>> + Send;

    /// Deletes the records of sagas from this one on and below a watermark, if the durable one is
    /// at least as high: at most `limit` rows. It skips rows that others have locked.
    fn prune(
        &self,
        from: SagaId,
        below: Watermark,
        limit: usize,
    ) -> impl Future<Output = Result<Pruned, Failure>> + Send;

    /// Time for which a watermark has to be durable before any record below it is deleted: the
    /// longest time that a [`Store::lock`] may take. Then no action can read the old watermark and
    /// yet miss its tombstone.
    const SETTLING: Duration;

    /// Commits. [`Failure::UnknownCommit`] when the answer is lost.
    fn commit(&self, tx: Self::Tx) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The row that a step's action and compensation contend for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The saga.
    pub saga: SagaId,
    /// Its step.
    pub step: String,
}

/// Rows that are locked.
#[derive(Clone, Debug)]
pub struct Locked {
    /// The database's clock.
    pub now: Timestamp,
    /// Commands of sagas below it must not be run: their records may be gone.
    pub watermark: Watermark,
    /// One record for each key, in the order of the keys.
    pub records: Vec<Record<Recorded>>,
}

/// The new content of one direction of a row.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its row.
    pub key: Key,
    /// Its direction.
    pub direction: Direction,
    /// Hash of its type and payload.
    pub hash: Vec<u8>,
    /// The answer. `None` stands for the intent to ask the outside world.
    pub answer: Option<Recorded>,
    /// [`Part::calls`](saga_core::Part::calls) of an action.
    pub calls: u32,
}

/// Rows that were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// Their number.
    pub rows: u64,
    /// The saga to go on from; `None` at the end.
    pub next: Option<SagaId>,
}
