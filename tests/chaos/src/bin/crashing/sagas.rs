//! Crash points around an orchestrator's commits.

use std::sync::atomic::{AtomicBool, Ordering};

use saga_core::{Failure, HistoryEntry, Instance, SagaId, Timestamp, Watermark};
use saga_engine::{
    Admission, Census, Handled, Horizon, IdempotencyKey, Inspected, ListFilter, NewQuarantined,
    Pruned, QuarantineFilter, Quarantined, Range, Retention, SagaReads, SagaStore, Write,
};

use crate::point::{Crash, Point, pass};

/// The store of the sagas, with crash points. A transaction that writes nothing passes none of
/// them.
#[derive(Clone)]
pub(super) struct CrashingSagas<S> {
    store: S,
    crash: Option<Crash>,
}

impl<S> CrashingSagas<S> {
    pub(super) fn new(store: S, crash: Option<Crash>) -> Self {
        Self { store, crash }
    }
}

/// The crash points before and after one transaction's commit.
struct Commit<'a> {
    crash: Option<&'a Crash>,
    before: Point,
    after: Point,
    writes: AtomicBool,
}

impl<'a> Commit<'a> {
    fn new(crash: Option<&'a Crash>, before: Point, after: Point) -> Self {
        Self { crash, before, after, writes: AtomicBool::new(false) }
    }

    /// Passes the point before the commit, if the transaction will write.
    fn decided<R>(&self, decision: (Vec<Write>, R)) -> (Vec<Write>, R) {
        let writes = !decision.0.is_empty();
        self.writes.store(writes, Ordering::Relaxed);
        if writes {
            pass(self.crash, self.before);
        }
        decision
    }

    /// Passes the point after the commit, if the transaction has written.
    fn ended<R>(&self, result: Result<R, Failure>) -> Result<R, Failure> {
        if result.is_ok() && self.writes.load(Ordering::Relaxed) {
            pass(self.crash, self.after);
        }
        result
    }
}

impl<S: SagaStore> SagaStore for CrashingSagas<S> {
    const SYSTEM: &'static str = S::SYSTEM;

    async fn admit<R: Send>(
        &self,
        keys: &[IdempotencyKey],
        decide: impl Fn(Timestamp, &[usize]) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<(Vec<Admission>, Option<R>), Failure> {
        let crash = self.crash.as_ref();
        let commit = Commit::new(crash, Point::BeforeAdmissionCommit, Point::AfterAdmissionCommit);
        let decide = |now: Timestamp, new: &[usize]| commit.decided(decide(now, new));
        commit.ended(self.store.admit(keys, decide).await)
    }

    async fn known(&self, keys: &[IdempotencyKey]) -> Result<Vec<Option<Admission>>, Failure> {
        self.store.known(keys).await
    }

    async fn turn<R: Send>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        let crash = self.crash.as_ref();
        let commit = Commit::new(crash, Point::BeforeTurnCommit, Point::AfterTurnCommit);
        let decide = |now: Timestamp, sagas: Vec<Instance>| commit.decided(decide(now, sagas));
        commit.ended(self.store.turn(ids, decide).await)
    }

    async fn claim<R: Send>(
        &self,
        definitions: &[(&'static str, u32)],
        limit: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        let crash = self.crash.as_ref();
        let commit = Commit::new(crash, Point::BeforeClaimCommit, Point::AfterClaimCommit);
        let decide = |now: Timestamp, sagas: Vec<Instance>| commit.decided(decide(now, sagas));
        commit.ended(self.store.claim(definitions, limit, decide).await)
    }

    async fn quarantine(&self, messages: &[NewQuarantined]) -> Result<(), Failure> {
        self.store.quarantine(messages).await
    }

    async fn handle<R: Send>(
        &self,
        message: &str,
        saga: Option<SagaId>,
        decide: impl Fn(Inspected) -> (Option<Handled>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        self.store.handle(message, saga, decide).await
    }
}

impl<S: SagaReads> SagaReads for CrashingSagas<S> {
    async fn find(&self, ids: &[SagaId]) -> Result<Vec<Instance>, Failure> {
        self.store.find(ids).await
    }

    async fn versions(&self, ids: &[SagaId]) -> Result<Vec<(SagaId, u64, bool)>, Failure> {
        self.store.versions(ids).await
    }

    async fn history(&self, id: SagaId, after: u64) -> Result<Vec<HistoryEntry>, Failure> {
        self.store.history(id, after).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<Instance>, Failure> {
        self.store.list(filter).await
    }

    async fn in_flight(&self) -> Result<u64, Failure> {
        self.store.in_flight().await
    }

    async fn quarantined(&self, filter: &QuarantineFilter) -> Result<Vec<Quarantined>, Failure> {
        self.store.quarantined(filter).await
    }

    async fn census(&self) -> Result<Census, Failure> {
        self.store.census().await
    }
}

impl<S: Retention> Retention for CrashingSagas<S> {
    async fn advance(&self, retention_millis: u64) -> Result<Horizon, Failure> {
        self.store.advance(retention_millis).await
    }

    async fn watermark(&self) -> Result<Watermark, Failure> {
        self.store.watermark().await
    }

    async fn prune(&self, range: &Range) -> Result<Pruned, Failure> {
        self.store.prune(range).await
    }
}
