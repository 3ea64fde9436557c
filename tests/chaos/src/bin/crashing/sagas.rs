//! Crash points around an orchestrator's commits.

use std::sync::atomic::{AtomicBool, Ordering};

use saga_core::{Failure, Instance, SagaId, Timestamp};
use saga_engine::{Admission, IdempotencyKey, Retention, SagaReads, SagaStore, Write};
use saga_taps::SagaTap;

use crate::point::{Crash, Point, pass};

/// The store of the sagas, with crash points. A transaction that writes nothing passes none of
/// them.
#[derive(Clone)]
pub(super) struct CrashingSagas<S> {
    pub(super) store: S,
    pub(super) crash: Option<Crash>,
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

impl<S: SagaStore + SagaReads + Retention> SagaTap for CrashingSagas<S> {
    type Inner = S;

    fn inner(&self) -> &S {
        &self.store
    }

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
}
