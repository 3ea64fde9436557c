//! What the engine needs of a store.

use std::future::Future;

use saga_core::{Failure, HistoryEntry, Instance, SagaId, State, Timestamp};

use crate::{Handled, Inspected, ListFilter, QuarantineFilter, Quarantined, Write};

/// The sagas' rows. Each call is one transaction: whole or not at all.
///
/// The deciding closure may be called again after a conflict. Its first argument
/// is the store's clock, read by the transaction's own first statement.
pub trait SagaStore: Clone + Send + Sync + 'static {
    /// The database system's name in traces.
    const SYSTEM: &'static str = "other_sql";

    /// Binds idempotency keys to new sagas. `decide` says what to write for the keys of these
    /// indexes; those that were bound before are answered. It may be asked for too many at
    /// first: what counts, and is returned, is its last answer, for the new ones alone.
    fn admit<R: Send>(
        &self,
        keys: &[IdempotencyKey],
        decide: impl Fn(Timestamp, &[usize]) -> (Vec<Write>, R) + Send + Sync,
    ) -> impl Future<Output = Result<(Vec<Admission>, Option<R>), Failure>> + Send;

    /// For each key: what [`SagaStore::admit`] would answer if it is bound, `None` if it is
    /// not. Writes nothing.
    fn known(
        &self,
        keys: &[IdempotencyKey],
    ) -> impl Future<Output = Result<Vec<Option<Admission>>, Failure>> + Send;

    /// Locks the rows of these sagas in the order of their ids, has them decided,
    /// and writes. A saga that does not exist is left out.
    fn turn<R: Send>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> impl Future<Output = Result<R, Failure>> + Send;

    /// As [`SagaStore::turn`], for sagas of these definitions whose `wake_at` has
    /// passed and that nobody else has locked; at most `limit` of them.
    fn claim<R: Send>(
        &self,
        definitions: &[(&'static str, u32)],
        limit: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> impl Future<Output = Result<R, Failure>> + Send;

    /// Keeps what cannot be handled, one row a command id. Another copy of what an
    /// operator has dealt with opens it again.
    fn quarantine(
        &self,
        messages: &[NewQuarantined],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Locks a message of the quarantine and then, if it is asked for, a saga's row;
    /// has them decided; and writes both, with the act in the message's history.
    fn handle<R: Send>(
        &self,
        message: &str,
        saga: Option<SagaId>,
        decide: impl Fn(Inspected) -> (Option<Handled>, R) + Send + Sync,
    ) -> impl Future<Output = Result<R, Failure>> + Send;
}

/// What others read of the sagas. Committed state only.
pub trait SagaReads: Clone + Send + Sync + 'static {
    /// Those of these sagas that exist.
    fn find(&self, ids: &[SagaId]) -> impl Future<Output = Result<Vec<Instance>, Failure>> + Send;

    /// Version of those of these sagas that exist, and whether they have ended.
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

    /// How many sagas have not ended and are not stuck.
    fn in_flight(&self) -> impl Future<Output = Result<u64, Failure>> + Send;

    /// Messages in the quarantine, the newest first.
    fn quarantined(
        &self,
        filter: &QuarantineFilter,
    ) -> impl Future<Output = Result<Vec<Quarantined>, Failure>> + Send;

    /// What has not ended, by definition and state, and how much is in quarantine.
    /// For metrics, so it need not be exact.
    fn census(&self) -> impl Future<Output = Result<Census, Failure>> + Send;
}

/// What a glance at the store shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Sagas that have not ended: one entry a definition, version, state and pause
    /// that there is.
    pub unfinished: Vec<Headcount>,
    /// Messages in the quarantine that nobody has dealt with.
    pub quarantined: u64,
}

/// The sagas of one version of a definition in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headcount {
    /// Name of the definition.
    pub definition: String,
    /// Its version.
    pub definition_version: u32,
    /// Whether they are paused.
    pub paused: bool,
    /// Where they stand.
    pub state: State,
    /// How many there are.
    pub count: u64,
    /// How long ago the oldest of them began, by the store's clock.
    pub oldest_millis: u64,
}

/// A client's key, and what it asks for.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// Who asks.
    pub caller: String,
    /// Which method.
    pub method: &'static str,
    /// The key.
    pub key: String,
    /// Hash of the payload.
    pub payload_hash: Vec<u8>,
    /// The saga that it is bound to if it is new.
    pub saga: SagaId,
}

/// What became of a key.
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
    /// The command's id, or a hash of the body where there is none.
    pub id: String,
    /// Why it is here.
    pub reason: String,
    /// The queue that it came from.
    pub from: String,
    /// Where its sender wants the answer.
    pub reply_to: Option<String>,
    /// The body, as it was.
    pub body: Vec<u8>,
}
