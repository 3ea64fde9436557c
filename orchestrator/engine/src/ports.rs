//! The ports to a store of sagas.

use std::future::Future;

use saga_core::{Failure, HistoryEntry, Instance, SagaId, State, Timestamp};

use crate::{Handled, Inspected, ListFilter, QuarantineFilter, Quarantined, Write};

/// Writes the sagas' rows. Each call is one transaction: it happens as a whole or not at all.
///
/// The closure `decide` may be called again after a conflict. Its first argument is the store's
/// time, read by the transaction's own first statement.
pub trait SagaStore: Clone + Send + Sync + 'static {
    /// The database system's name in traces.
    const SYSTEM: &'static str = "other_sql";

    /// Binds idempotency keys to new sagas. `decide` gets the indexes of the new keys and returns
    /// their sagas' writes. It may first be called with more indexes; its last call has the new
    /// keys alone, and only that result is written and returned.
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

    /// Locks the rows of these sagas in the order of their ids, calls `decide`, and writes. Sagas
    /// that do not exist are left out.
    fn turn<R: Send>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> impl Future<Output = Result<R, Failure>> + Send;

    /// As [`SagaStore::turn`], for at most `limit` sagas of these definitions whose `wake_at` has
    /// passed and whose rows nobody else has locked. A `wake_at` that is further ahead than
    /// [`AHEAD_MILLIS`](saga_core::limits::AHEAD_MILLIS) was written by a clock that was fast, and
    /// counts as passed.
    fn claim<R: Send>(
        &self,
        definitions: &[(&'static str, u32)],
        limit: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> impl Future<Output = Result<R, Failure>> + Send;

    /// Keeps messages that cannot be handled, one row for each id. Another copy of a message that
    /// an operator has handled opens it again.
    fn quarantine(
        &self,
        messages: &[NewQuarantined],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Locks a message of the quarantine and then, if it is asked for, a saga's row. Calls
    /// `decide`, and writes both, with the act in the message's history.
    fn handle<R: Send>(
        &self,
        message: &str,
        saga: Option<SagaId>,
        decide: impl Fn(Inspected) -> (Option<Handled>, R) + Send + Sync,
    ) -> impl Future<Output = Result<R, Failure>> + Send;
}

/// Reads the sagas' committed state.
pub trait SagaReads: Clone + Send + Sync + 'static {
    /// The sagas of these ids, as far as they exist.
    fn find(&self, ids: &[SagaId]) -> impl Future<Output = Result<Vec<Instance>, Failure>> + Send;

    /// For each of these sagas that exists: its id, its version, and true if it has ended.
    fn versions(
        &self,
        ids: &[SagaId],
    ) -> impl Future<Output = Result<Vec<(SagaId, u64, bool)>, Failure>> + Send;

    /// A saga's transitions after a version, in order.
    fn history(
        &self,
        id: SagaId,
        after: u64,
    ) -> impl Future<Output = Result<Vec<HistoryEntry>, Failure>> + Send;

    /// Sagas, newest first.
    fn list(
        &self,
        filter: &ListFilter,
    ) -> impl Future<Output = Result<Vec<Instance>, Failure>> + Send;

    /// Number of sagas that have not ended and are not stuck.
    fn in_flight(&self) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Messages in the quarantine, the newest first.
    fn quarantined(
        &self,
        filter: &QuarantineFilter,
    ) -> impl Future<Output = Result<Vec<Quarantined>, Failure>> + Send;

    /// Counts sagas that have not ended, and messages of the quarantine. It is for metrics, so it
    /// need not be exact.
    fn census(&self) -> impl Future<Output = Result<Census, Failure>> + Send;
}

/// Counts of the store's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Sagas that have not ended: one entry for each combination of definition, version, state and
    /// pause that occurs.
    pub unfinished: Vec<Headcount>,
    /// Messages in the quarantine that nobody has handled.
    pub quarantined: u64,
}

/// The sagas of one version of a definition in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headcount {
    /// Name of the definition.
    pub definition: String,
    /// Its version.
    pub definition_version: u32,
    /// True if they are paused.
    pub paused: bool,
    /// Their state.
    pub state: State,
    /// Their number.
    pub count: u64,
    /// Age of the oldest, by the store's clock. One that a fast clock has dated ahead counts with
    /// its distance from now, so that it is not overlooked.
    pub oldest_millis: u64,
}

/// A client's key, and the request that it stands for.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// The caller.
    pub caller: String,
    /// The method that is called.
    pub method: &'static str,
    /// The key.
    pub key: String,
    /// Hash of the payload.
    pub payload_hash: Vec<u8>,
    /// The saga that it is bound to if it is new.
    pub saga: SagaId,
}

/// The outcome for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is bound to its new saga.
    New,
    /// It was bound to this saga, with the same payload.
    Repeated(SagaId),
    /// It was bound with another payload.
    Conflict,
}

/// A message that cannot be handled.
#[derive(Clone, Debug)]
pub struct NewQuarantined {
    /// The command's id, or else the message's own id or a hash of its body.
    pub id: String,
    /// The reason why it is here.
    pub reason: String,
    /// The queue that it came from.
    pub from: String,
    /// The address for its answer.
    pub reply_to: Option<String>,
    /// The original body.
    pub body: Vec<u8>,
}
