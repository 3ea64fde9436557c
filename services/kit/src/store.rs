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

    /// Locks the rows of these keys, which are sorted and distinct, and creates
    /// those that are missing. Until the transaction ends no other one gets past
    /// this with any of the keys.
    fn lock(
        &self,
        tx: &mut Self::Tx,
        keys: &[Key],
    ) -> impl Future<Output = Result<Locked, Failure>> + Send;

    /// Writes what is now known of commands whose rows are locked.
    fn record(
        &self,
        tx: &mut Self::Tx,
        entries: &[Entry],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Raises the watermark, durably, and says where it stands. It never goes back,
    /// and it never gets ahead of the database's own clock: one that does is not
    /// believed.
    fn raise(
        &self,
        watermark: Watermark,
    ) -> impl Future<Output = Result<Watermark, Failure>> + Send;

    /// Deletes what is remembered of sagas from this one on and below a watermark, if
    /// the durable one has come so far; at most `limit` rows; passes over what others have locked. Says where to go on,
    /// and how many rows are gone.
    fn prune(
        &self,
        from: SagaId,
        below: Watermark,
        limit: usize,
    ) -> impl Future<Output = Result<Pruned, Failure>> + Send;

    /// How long a watermark has to be durable before anything below it is deleted:
    /// as long as a [`Store::lock`] may take that had begun before. Then no action
    /// can see both the old watermark and its tombstone gone.
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
    /// What is below it must not be run: what was remembered of it may be gone.
    pub watermark: Watermark,
    /// A record a key, in the keys' order.
    pub records: Vec<Record<Recorded>>,
}

/// What is now known of a command.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its row.
    pub key: Key,
    /// Its direction.
    pub direction: Direction,
    /// Hash of its type and payload.
    pub hash: Vec<u8>,
    /// The answer. `None`: the intent to ask the outside world.
    pub answer: Option<Recorded>,
    /// [`Part::calls`](saga_core::Part::calls) of an action.
    pub calls: u32,
}

/// Rows that were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// How many.
    pub rows: u64,
    /// Where to go on; `None` at the end.
    pub next: Option<SagaId>,
}
