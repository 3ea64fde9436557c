//! The saga store of one orchestrator: the real one, with injected faults.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use saga_core::{Failure, HistoryEntry, Instance, SagaId, Timestamp, Watermark};
use saga_engine::{
    Admission, Census, Handled, Horizon, IdempotencyKey, Inspected, ListFilter, NewQuarantined,
    Pruned, QuarantineFilter, Quarantined, Range, Retention, SagaReads, SagaStore, Write,
};

use crate::{
    check::Checks,
    faults::{Fault, Point},
    life::Life,
    sim::lock,
};

/// A process's view of the store.
#[derive(Clone)]
pub(crate) struct SimStore<S> {
    inner: S,
    life: Arc<Life>,
    checks: Arc<Checks>,
    /// The sagas as this process wrote them last, if it may decide without reading them again.
    memory: Option<Arc<Mutex<BTreeMap<SagaId, Instance>>>>,
}

/// The fate of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    Conflict,
    Unavailable,
    UnknownDone,
    UnknownLost,
}

impl Fate {
    /// Draws a fate.
    pub(crate) async fn of(life: &Life) -> Self {
        if life.sim.strikes(Fault::SlowStore) {
            let time = life.sim.dice.millis(1..=1_500);
            life.spend(time).await;
        }
        let fates = [
            (Fault::Conflict, Self::Conflict),
            (Fault::Unavailable, Self::Unavailable),
            (Fault::UnknownDone, Self::UnknownDone),
            (Fault::UnknownLost, Self::UnknownLost),
        ];
        let struck = fates.into_iter().find(|(fault, _)| life.sim.strikes(*fault));
        struck.map_or(Self::Done, |(_, fate)| fate)
    }

    /// Returns the failure that the caller gets, if any.
    pub(crate) fn failure(self) -> Option<Failure> {
        match self {
            Self::Done => None,
            Self::Conflict => Some(Failure::Conflict("another one was faster".to_owned())),
            Self::Unavailable => Some(Failure::Unavailable("the database is away".to_owned())),
            Self::UnknownDone | Self::UnknownLost => {
                Some(Failure::UnknownCommit("the answer was lost".to_owned()))
            }
        }
    }
}

impl<S> SimStore<S> {
    /// Creates a process's handle of the store.
    pub(crate) fn new(inner: S, life: Arc<Life>, checks: Arc<Checks>, remembers: bool) -> Self {
        Self { inner, life, checks, memory: remembers.then(Arc::default) }
    }

    fn remember(&self, writes: &[Write]) {
        if let Some(memory) = &self.memory {
            lock(memory).extend(writes.iter().map(|write| (write.saga.id, write.saga.clone())));
        }
    }

    fn forget(&self, ids: &[SagaId]) {
        if let Some(memory) = &self.memory {
            lock(memory).retain(|id, _| !ids.contains(id));
        }
    }

    fn remembered(&self, ids: &[SagaId]) -> Option<Vec<Instance>> {
        let memory = lock(self.memory.as_ref()?);
        let known: Option<Vec<Instance>> = ids.iter().map(|id| memory.get(id).cloned()).collect();
        let mut known = known?;
        known.sort_unstable_by_key(|saga| saga.id);
        Some(known)
    }

    /// Ends a transaction, and returns the result that its caller gets.
    async fn end<R>(
        &self,
        what: &str,
        fate: Fate,
        after: Point,
        done: Result<(Vec<Write>, R), Failure>,
    ) -> Result<R, Failure> {
        let (writes, result) = done?;
        if matches!(fate, Fate::Done | Fate::UnknownDone) {
            for write in &writes {
                self.life.say(|| format!("{what}: {}", told(write)));
            }
            self.checks.committed(&self.life.name, &writes);
        }
        if let Some(failure) = fate.failure() {
            self.life.say(|| format!("{what}: {failure}"));
            // This process no longer knows the state of these sagas (protocol 2).
            self.forget(&writes.iter().map(|write| write.saga.id).collect::<Vec<_>>());
            return Err(failure);
        }
        self.remember(&writes);
        self.life.pass(after).await;
        Ok(result)
    }
}

impl<S: SagaStore> SimStore<S> {
    /// Makes a turn like the store for servers. A decision that writes may rely on the sagas as
    /// this process wrote them last, because the write checks every version (protocol 1). Returns
    /// `None` if the rows must be read.
    async fn turn_from_memory<R: Send>(
        &self,
        ids: &[SagaId],
        fate: Fate,
        decide: &(impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync),
    ) -> Option<Result<(Vec<Write>, R), Failure>> {
        let (writes, result) = decide(self.checks.saga_clock(), self.remembered(ids)?);
        let all = writes.len() == ids.len() && writes.iter().all(|w| w.saga.version > w.before);
        if !all {
            return None;
        }
        let stands = |rows: &[Instance]| {
            let before = |write: &Write| (write.saga.id, write.before);
            let found: BTreeMap<SagaId, u64> = rows.iter().map(|r| (r.id, r.version)).collect();
            found == writes.iter().map(before).collect()
        };
        let wrote = self.inner.turn(ids, |_, rows| {
            let stands = stands(&rows);
            let keeps = matches!(fate, Fate::Done | Fate::UnknownDone);
            (if stands && keeps { writes.clone() } else { Vec::new() }, stands)
        });
        match wrote.await {
            Ok(true) => Some(Ok((writes, result))),
            Ok(false) => {
                self.life.say(|| "another one has moved a saga on: reads it again".to_owned());
                self.forget(ids);
                None
            }
            Err(failure) => Some(Err(failure)),
        }
    }
}

/// Describes a transition in the transcript.
fn told(write: &Write) -> String {
    let Write { before, saga, history } = write;
    let happenings: Vec<String> = history.iter().map(|e| format!("{:?}", e.happening)).collect();
    let id = crate::transport::short(&saga.id.to_string());
    format!("{id} v{before}>v{} {} {}", saga.version, saga.phase.name(), happenings.join("; "))
}

/// Returns the writes of a decision, or none if its transaction will not be written.
fn kept<R>(fate: Fate, decided: (Vec<Write>, R)) -> (Vec<Write>, (Vec<Write>, R)) {
    let (writes, result) = decided;
    match fate {
        Fate::Done | Fate::UnknownDone => (writes.clone(), (writes, result)),
        // The decision was made, and the database then rolled it back.
        Fate::Conflict | Fate::Unavailable | Fate::UnknownLost => (Vec::new(), (writes, result)),
    }
}

impl<S: SagaStore> SagaStore for SimStore<S> {
    async fn admit<R: Send>(
        &self,
        keys: &[IdempotencyKey],
        decide: impl Fn(Timestamp, &[usize]) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<(Vec<Admission>, Option<R>), Failure> {
        self.life.pass(Point::BeforeAdmit).await;
        let fate = Fate::of(&self.life).await;
        // Binding a key is a write too, so an admission that must not commit does not reach the
        // store.
        if let (Fate::Conflict | Fate::Unavailable | Fate::UnknownLost, Some(failure)) =
            (fate, fate.failure())
        {
            self.life.say(|| format!("admission: {failure}"));
            return Err(failure);
        }
        let decide = |now: Timestamp, new: &[usize]| {
            let (writes, result) = decide(now, new);
            (writes.clone(), (writes, result))
        };
        let (admissions, decided) = self.inner.admit(keys, decide).await?;
        let (writes, result) = decided.unzip();
        let done = Ok((writes.unwrap_or_default(), (admissions, result)));
        self.end("admission", fate, Point::AfterAdmit, done).await
    }

    async fn known(&self, keys: &[IdempotencyKey]) -> Result<Vec<Option<Admission>>, Failure> {
        self.inner.known(keys).await
    }

    async fn turn<R: Send>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        self.life.pass(Point::BeforeTurn).await;
        let fate = Fate::of(&self.life).await;
        if let Some(done) = self.turn_from_memory(ids, fate, &decide).await {
            return self.end("turn from memory", fate, Point::AfterTurn, done).await;
        }
        let decide = |now: Timestamp, sagas: Vec<Instance>| kept(fate, decide(now, sagas));
        let done = self.inner.turn(ids, decide).await;
        self.end("turn", fate, Point::AfterTurn, done).await
    }

    async fn claim<R: Send>(
        &self,
        definitions: &[(&'static str, u32)],
        limit: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        self.life.thaw().await;
        let Some(now) = self.checks.anything_due() else {
            // Nothing is due, so the store is not called.
            return Ok(decide(self.checks.saga_clock(), Vec::new()).1);
        };
        let _ = now;
        self.life.pass(Point::BeforeClaim).await;
        let fate = Fate::of(&self.life).await;
        let decide = |now: Timestamp, sagas: Vec<Instance>| {
            let sagas = sagas.into_iter().filter(|saga| self.checks.may_wake(saga.id)).collect();
            kept(fate, decide(now, sagas))
        };
        let done = self.inner.claim(definitions, limit, decide).await;
        self.end("claim", fate, Point::AfterClaim, done).await
    }

    async fn quarantine(&self, messages: &[NewQuarantined]) -> Result<(), Failure> {
        self.life.pass(Point::BeforeQuarantine).await;
        let fate = Fate::of(&self.life).await;
        if matches!(fate, Fate::Done | Fate::UnknownDone) {
            for message in messages {
                self.life.say(|| format!("keeps poison {}: {}", message.id, message.reason));
            }
            self.inner.quarantine(messages).await?;
        }
        if let Some(failure) = fate.failure() {
            return Err(failure);
        }
        self.life.pass(Point::AfterQuarantine).await;
        Ok(())
    }

    async fn handle<R: Send>(
        &self,
        message: &str,
        saga: Option<SagaId>,
        decide: impl Fn(Inspected) -> (Option<Handled>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        self.life.thaw().await;
        self.inner.handle(message, saga, decide).await
    }
}

impl<S: Retention> Retention for SimStore<S> {
    async fn advance(&self, retention_millis: u64) -> Result<Horizon, Failure> {
        self.life.thaw().await;
        self.inner.advance(retention_millis).await
    }

    async fn watermark(&self) -> Result<Watermark, Failure> {
        self.life.thaw().await;
        self.inner.watermark().await
    }

    async fn prune(&self, range: &Range) -> Result<Pruned, Failure> {
        self.life.thaw().await;
        self.inner.prune(range).await
    }
}

impl<S: SagaReads> SagaReads for SimStore<S> {
    async fn find(&self, ids: &[SagaId]) -> Result<Vec<Instance>, Failure> {
        self.life.thaw().await;
        self.inner.find(ids).await
    }

    async fn versions(&self, ids: &[SagaId]) -> Result<Vec<(SagaId, u64, bool)>, Failure> {
        self.life.thaw().await;
        self.inner.versions(ids).await
    }

    async fn history(&self, id: SagaId, after: u64) -> Result<Vec<HistoryEntry>, Failure> {
        self.life.thaw().await;
        self.inner.history(id, after).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<Instance>, Failure> {
        self.life.thaw().await;
        self.inner.list(filter).await
    }

    async fn in_flight(&self) -> Result<u64, Failure> {
        self.life.thaw().await;
        self.inner.in_flight().await
    }

    async fn quarantined(&self, filter: &QuarantineFilter) -> Result<Vec<Quarantined>, Failure> {
        self.life.thaw().await;
        self.inner.quarantined(filter).await
    }

    async fn census(&self) -> Result<Census, Failure> {
        self.life.thaw().await;
        self.inner.census().await
    }
}
