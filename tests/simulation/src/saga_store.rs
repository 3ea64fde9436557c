//! The saga store of one orchestrator: the real one, with injected faults.

use std::sync::Arc;

use saga_core::{Failure, HistoryEntry, Instance, SagaId, Timestamp, Watermark};
use saga_engine::{
    Admission, Census, Handled, Horizon, IdempotencyKey, Inspected, ListFilter, NewQuarantined,
    Pruned, QuarantineFilter, Quarantined, Range, Retention, SagaReads, SagaStore, Write,
};
use saga_store::memory::{self, Content, Memory};

use crate::{
    check::Checks,
    faults::{Fault, Point},
    forget::Link,
    life::Life,
    planted::Planted,
    world::World,
};

/// A process's view of the store.
#[derive(Clone)]
pub(crate) struct SimStore<S> {
    inner: S,
    life: Arc<Life>,
    checks: Arc<Checks>,
    link: Link,
    /// The most rows that a turn may touch within a statement's time limit.
    most_rows: Option<usize>,
    /// The real memory of a store for servers, of which only the statement is the simulation's.
    memory: Arc<Memory>,
    /// A planted bug: the memory outlives a lost connection, and its content is not checked.
    by_version_alone: bool,
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

    /// Returns true if the transaction is written, whatever its caller gets.
    pub(crate) fn is_written(self) -> bool {
        matches!(self, Self::Done | Self::UnknownDone)
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
    pub(crate) fn new(inner: S, life: Arc<Life>, world: &World) -> Self {
        let (checks, plan) = (Arc::clone(&world.checks), &world.plan);
        let memory = Arc::new(if plan.remembers { Memory::new() } else { Memory::default() });
        let link = world.databases.link("orchestrator");
        let by_version_alone = plan.planted == Some(Planted::RemembersByVersionAlone);
        Self { inner, life, checks, link, most_rows: plan.most_rows, by_version_alone, memory }
    }

    /// Reaches the database, and draws the fate of a transaction over this many rows.
    async fn reach(&self, rows: usize) -> Fate {
        let fate = Fate::of(&self.life).await;
        if self.link.check().is_err() {
            return Fate::Unavailable;
        }
        if self.most_rows.is_some_and(|most| rows > most) {
            self.life.sim.count(Fault::TooManyRows);
            return Fate::Conflict;
        }
        fate
    }

    /// Runs a transaction in touch with the memory.
    async fn in_touch<R>(
        &self,
        work: impl Future<Output = Result<R, Failure>>,
    ) -> Result<R, Failure> {
        if self.by_version_alone { work.await } else { self.memory.in_touch(work).await }
    }

    /// Notes the end of a transaction, and returns the result that its caller gets.
    fn ended<R>(&self, what: &str, fate: Fate, writes: &[Write], result: R) -> Result<R, Failure> {
        if fate.is_written() {
            for write in writes {
                self.life.say(|| format!("{what}: {}", told(write)));
            }
            self.checks.committed(&self.life.name, writes);
        }
        match fate.failure() {
            Some(failure) => {
                self.life.say(|| format!("{what}: {failure}"));
                Err(failure)
            }
            None => Ok(result),
        }
    }
}

impl<S: SagaStore> SimStore<S> {
    /// Makes a turn over remembered sagas like the store for servers, with one statement. Returns
    /// `None` if the rows must be read.
    async fn turn_from_memory<R: Send>(
        &self,
        ids: &[SagaId],
        fate: Fate,
        decide: &(impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync),
    ) -> Result<Option<R>, Failure> {
        let Some(decided) = self.memory.decide(ids, decide) else { return Ok(None) };
        let written = self.write_checked(&decided.writes, &decided.content, fate).await;
        self.memory.written(decided, written)
    }

    /// Writes rows if all of them have these versions and contents.
    async fn write_checked(
        &self,
        writes: &[Write],
        content: &[Content],
        fate: Fate,
    ) -> Result<Timestamp, Failure> {
        let ids: Vec<SagaId> = writes.iter().map(|write| write.saga.id).collect();
        let all = |rows: &[Instance], is_so: &dyn Fn(&Instance, &Write, &Content) -> bool| {
            let due = |row: &Instance| {
                writes.iter().zip(content).any(|(w, c)| w.saga.id == row.id && is_so(row, w, c))
            };
            rows.len() == writes.len() && rows.iter().all(due)
        };
        let same = |row: &Instance, _: &Write, content: &Content| {
            memory::content(row).is_ok_and(|found| found == *content)
        };
        let stand = |rows: &[Instance]| {
            let versions = all(rows, &|row, write, _| row.version == write.before);
            let contents = all(rows, &same);
            if versions && !contents && self.by_version_alone && fate.is_written() {
                self.life.sim.violated(format!("{} overwrites what it never saw", self.life.name));
            }
            versions && (contents || self.by_version_alone)
        };
        let write = |now: Timestamp, rows: Vec<Instance>| {
            let (stand, keeps) = (stand(&rows), fate.is_written());
            (if stand && keeps { writes.to_vec() } else { Vec::new() }, (stand, now))
        };
        let (stand, now) = self.inner.turn(&ids, write).await?;
        if !stand {
            self.life.say(|| "another one has moved a saga on: reads it again".to_owned());
            return Err(Failure::Conflict("another turn has moved a saga on".to_owned()));
        }
        self.ended("turn from memory", fate, writes, now)
    }

    /// Makes a turn over rows that are read and locked.
    async fn turn_from_rows<R: Send>(
        &self,
        ids: &[SagaId],
        fate: Fate,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        let decide = |now: Timestamp, sagas: Vec<Instance>| self.decided(fate, now, sagas, &decide);
        let (writes, result) = self.inner.turn(ids, decide).await?;
        let result = self.ended("turn", fate, &writes, result)?;
        self.memory.committed(&writes);
        Ok(result)
    }

    /// Decides on rows that were read. Returns the writes, or none if the transaction will be
    /// rolled back.
    fn decided<R>(
        &self,
        fate: Fate,
        now: Timestamp,
        sagas: Vec<Instance>,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R),
    ) -> (Vec<Write>, (Vec<Write>, R)) {
        self.memory.heard(now);
        self.memory.forget(&sagas.iter().map(|saga| saga.id).collect::<Vec<_>>());
        let (writes, result) = decide(now, sagas);
        (if fate.is_written() { writes.clone() } else { Vec::new() }, (writes, result))
    }
}

/// Describes a transition in the transcript.
fn told(write: &Write) -> String {
    let Write { before, saga, history } = write;
    let happenings: Vec<String> = history.iter().map(|e| format!("{:?}", e.happening)).collect();
    let id = crate::transport::short(&saga.id.to_string());
    format!("{id} v{before}>v{} {} {}", saga.version, saga.phase.name(), happenings.join("; "))
}

impl<S: SagaStore> SagaStore for SimStore<S> {
    async fn admit<R: Send>(
        &self,
        keys: &[IdempotencyKey],
        decide: impl Fn(Timestamp, &[usize]) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<(Vec<Admission>, Option<R>), Failure> {
        self.life.pass(Point::BeforeAdmit).await;
        let fate = self.reach(0).await;
        let decide = |now: Timestamp, new: &[usize]| {
            self.memory.heard(now);
            let (writes, result) = decide(now, new);
            (writes.clone(), (writes, result))
        };
        let admitting = async {
            // Binding a key is a write too, so an admission that must not commit does not reach the
            // store.
            if !fate.is_written() {
                return self.ended("admission", fate, &[], (Vec::new(), None));
            }
            let (admissions, decided) = self.inner.admit(keys, decide).await?;
            let (writes, result) = decided.unzip();
            let writes = writes.unwrap_or_default();
            let admitted = self.ended("admission", fate, &writes, (admissions, result))?;
            self.memory.committed(&writes);
            Ok(admitted)
        };
        let admitted = self.in_touch(admitting).await?;
        self.life.pass(Point::AfterAdmit).await;
        Ok(admitted)
    }

    async fn known(&self, keys: &[IdempotencyKey]) -> Result<Vec<Option<Admission>>, Failure> {
        self.link.check()?;
        self.inner.known(keys).await
    }

    async fn turn<R: Send>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        self.life.pass(Point::BeforeTurn).await;
        let fate = self.reach(ids.len()).await;
        let turning = async {
            match self.turn_from_memory(ids, fate, &decide).await? {
                Some(result) => Ok(result),
                None => self.turn_from_rows(ids, fate, &decide).await,
            }
        };
        let result = self.in_touch(turning).await;
        if result.is_err() {
            self.checks.turn_failed(ids);
        }
        let result = result?;
        self.life.pass(Point::AfterTurn).await;
        Ok(result)
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
        let fate = self.reach(0).await;
        let decide = |now: Timestamp, sagas: Vec<Instance>| {
            let sagas = sagas.into_iter().filter(|saga| self.checks.may_wake(saga.id)).collect();
            self.decided(fate, now, sagas, &decide)
        };
        let claiming = async {
            let (writes, result) = self.inner.claim(definitions, limit, decide).await?;
            let result = self.ended("claim", fate, &writes, result)?;
            self.memory.committed(&writes);
            Ok(result)
        };
        let result = self.in_touch(claiming).await?;
        self.life.pass(Point::AfterClaim).await;
        Ok(result)
    }

    async fn quarantine(&self, messages: &[NewQuarantined]) -> Result<(), Failure> {
        self.life.pass(Point::BeforeQuarantine).await;
        let fate = self.reach(0).await;
        if fate.is_written() {
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
        self.link.check()?;
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
        self.link.check()?;
        self.inner.find(ids).await
    }

    async fn versions(&self, ids: &[SagaId]) -> Result<Vec<(SagaId, u64, bool)>, Failure> {
        self.life.thaw().await;
        self.link.check()?;
        self.inner.versions(ids).await
    }

    async fn history(&self, id: SagaId, after: u64) -> Result<Vec<HistoryEntry>, Failure> {
        self.life.thaw().await;
        self.link.check()?;
        self.inner.history(id, after).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<Instance>, Failure> {
        self.life.thaw().await;
        self.link.check()?;
        self.inner.list(filter).await
    }

    async fn in_flight(&self) -> Result<u64, Failure> {
        self.life.thaw().await;
        self.link.check()?;
        self.inner.in_flight().await
    }

    async fn quarantined(&self, filter: &QuarantineFilter) -> Result<Vec<Quarantined>, Failure> {
        self.life.thaw().await;
        self.link.check()?;
        self.inner.quarantined(filter).await
    }

    async fn census(&self) -> Result<Census, Failure> {
        self.life.thaw().await;
        self.link.check()?;
        self.inner.census().await
    }
}
