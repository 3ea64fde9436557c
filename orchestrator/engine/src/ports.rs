//! The ports to the store of sagas.

use std::future::Future;

use saga_core::{Failure, HistoryEntry, Instance, Partition, SagaId, State, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::{Handled, Inspected, ListFilter, QuarantineFilter, Quarantined, Write};

/// Writes the sagas' rows. Each call is one transaction: it is written as a whole or not at all.
///
/// The closure `decide` may be called again after a conflict. Its first argument is the store's
/// time, which the transaction's own first statement has read.
pub trait SagaStore: Clone + Send + Sync + 'static {
    /// The database system's name in traces.
    const SYSTEM: &'static str = "other_sql";

    /// Binds idempotency keys to new sagas. `decide` gets the indexes of the keys that were not
    /// bound before, and returns their sagas' writes. It may first be called with too many indexes.
    /// Its last call has only the new keys, and only that result is written and returned.
    fn admit<R: Send>(
        &self,
        keys: &[IdempotencyKey],
        decide: impl Fn(Timestamp, &[usize]) -> (Vec<Write>, R) + Send + Sync,
    ) -> impl Future<Output = Result<(Vec<Admission>, Option<R>), Failure>> + Send;

    /// Returns for each key the answer that [`SagaStore::admit`] would give, or `None` if the key
    /// is not bound. Writes nothing.
    fn known(
        &self,
        keys: &[IdempotencyKey],
    ) -> impl Future<Output = Result<Vec<Option<Admission>>, Failure>> + Send;

    /// Locks the rows of these sagas in the order of their ids, calls `decide`, and writes the
    /// writes that it returns. Sagas that do not exist are left out.
    fn turn<R: Send>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> impl Future<Output = Result<R, Failure>> + Send;

    /// Does the same as [`SagaStore::turn`] for at most `limit` sagas of these definitions whose
    /// `wake_at` has passed. Rows that others have locked are skipped. A `wake_at` that is further
    /// ahead than [`AHEAD_MILLIS`](saga_core::limits::AHEAD_MILLIS) was written by a clock that was
    /// ahead, and counts as passed.
    fn claim<R: Send>(
        &self,
        definitions: &[(&'static str, u32)],
        limit: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> impl Future<Output = Result<R, Failure>> + Send;

    /// Stores messages that cannot be handled, one row for each id. If another copy arrives of a
    /// message that an operator has handled, the message is open again.
    fn quarantine(
        &self,
        messages: &[NewQuarantined],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Locks a message of the quarantine and then the row of `saga`, if one is given. Calls
    /// `decide`, and writes both, and the operator's act into the message's history.
    fn handle<R: Send>(
        &self,
        message: &str,
        saga: Option<SagaId>,
        decide: impl Fn(Inspected) -> (Option<Handled>, R) + Send + Sync,
    ) -> impl Future<Output = Result<R, Failure>> + Send;
}

/// Reads the sagas' committed state.
pub trait SagaReads: Clone + Send + Sync + 'static {
    /// Returns the sagas with these ids. Ids that do not exist are left out.
    fn find(&self, ids: &[SagaId]) -> impl Future<Output = Result<Vec<Instance>, Failure>> + Send;

    /// Returns for each of these sagas that exists: its id, its version, and true if it has ended.
    fn versions(
        &self,
        ids: &[SagaId],
    ) -> impl Future<Output = Result<Vec<(SagaId, u64, bool)>, Failure>> + Send;

    /// Returns a saga's transitions after a version, in order.
    fn history(
        &self,
        id: SagaId,
        after: u64,
    ) -> impl Future<Output = Result<Vec<HistoryEntry>, Failure>> + Send;

    /// Returns the sagas that the filter picks, newest first.
    fn list(
        &self,
        filter: &ListFilter,
    ) -> impl Future<Output = Result<Vec<Instance>, Failure>> + Send;

    /// Counts the sagas that have not ended and are not stuck.
    fn in_flight(&self) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Returns the quarantine's messages that the filter picks, newest first.
    fn quarantined(
        &self,
        filter: &QuarantineFilter,
    ) -> impl Future<Output = Result<Vec<Quarantined>, Failure>> + Send;

    /// Counts the sagas that have not ended, and the messages in the quarantine. The counts are for
    /// metrics and need not be exact.
    fn census(&self) -> impl Future<Output = Result<Census, Failure>> + Send;
}

/// Counts of the rows in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Counts of sagas that have not ended: one entry for each combination of definition, version,
    /// state and pause that occurs.
    pub unfinished: Vec<Headcount>,
    /// Number of messages in the quarantine that no operator has handled.
    pub quarantined: u64,
}

/// A count of sagas that have the same definition, version, state and pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headcount {
    /// Name of the definition.
    pub definition: String,
    /// Version of that definition.
    pub definition_version: u32,
    /// True if the sagas are paused.
    pub paused: bool,
    /// The state of the sagas.
    pub state: State,
    /// Number of the sagas.
    pub count: u64,
    /// Age of the oldest of the sagas, by the store's clock. If a clock that was ahead has dated a
    /// saga into the future, its distance from now counts as its age, so that it is noticed.
    pub oldest_millis: u64,
}

/// A client's idempotency key, and the request that it was used for.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// The caller.
    pub caller: String,
    /// The method that the caller called.
    pub method: &'static str,
    /// The key that the caller chose.
    pub key: String,
    /// Hash of the request's payload.
    pub payload_hash: Vec<u8>,
    /// The saga to which the key is bound if the key is new.
    pub saga: SagaId,
}

impl IdempotencyKey {
    /// Returns the partition of the key's row, and of the saga that it begins. A caller's key in one
    /// method always has the same one.
    #[must_use]
    pub fn partition(caller: &str, method: &str, key: &str) -> Partition {
        // None of the texts contains a NUL.
        let hash = Sha256::digest([caller, method, key].join("\0"));
        Partition::of_hash(&[hash[0], hash[1]])
    }
}

/// The outcome of binding a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The key is bound to its new saga.
    New,
    /// The key was bound to this saga before, with the same payload.
    Repeated(SagaId),
    /// The key was bound before, with another payload.
    Conflict,
}

/// A message that cannot be handled, to be stored in the quarantine.
#[derive(Clone, Debug)]
pub struct NewQuarantined {
    /// The command's id or, without a command, the message's own id or a hash of its body.
    pub id: String,
    /// The reason why the message cannot be handled.
    pub reason: String,
    /// The queue that the message came from.
    pub from: String,
    /// The address to which its answer would be sent.
    pub reply_to: Option<String>,
    /// The message's original body.
    pub body: Vec<u8>,
}
