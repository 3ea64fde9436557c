//! The store of one participant's replica: the real one, with injected faults.

use std::{sync::Arc, time::Duration};

use saga_core::{CommandId, Direction, Failure, Part, SagaId, Watermark};
use saga_kit::{Entry, Key, Locked, Pruned, Store};
use saga_sqlite::{Inbox, Transaction};

use crate::{
    check::Checks,
    faults::{Fault, Point},
    forget::Link,
    life::Life,
    saga_store::Fate,
    sim::lock,
    world::World,
};

/// A process's view of the store.
#[derive(Clone)]
pub(crate) struct SimInbox {
    inner: Inbox,
    service: &'static str,
    life: Arc<Life>,
    checks: Arc<Checks>,
    link: Link,
    /// The most rows that may be locked within a statement's time limit.
    most_rows: Option<usize>,
}

impl SimInbox {
    /// Creates a process's handle of the store.
    #[must_use]
    pub(crate) fn new(inner: Inbox, service: &'static str, life: Arc<Life>, world: &World) -> Self {
        let (checks, link) = (Arc::clone(&world.checks), world.databases.link(service));
        Self { inner, service, life, checks, link, most_rows: world.plan.most_rows }
    }
}

impl Store for SimInbox {
    type Tx = Transaction;

    async fn begin(&self) -> Result<Transaction, Failure> {
        self.life.pass(Point::BeforeBegin).await;
        if self.life.sim.strikes(Fault::Unavailable) {
            return Err(Failure::Unavailable("the database is away".to_owned()));
        }
        self.link.check()?;
        let tx = self.inner.begin().await?;
        // The process may have died while it waited for the transaction.
        self.life.thaw().await;
        self.checks.began(self.service);
        Ok(tx)
    }

    async fn lock(&self, tx: &mut Transaction, keys: &[Key]) -> Result<Locked, Failure> {
        self.life.pass(Point::BeforeLock).await;
        if self.most_rows.is_some_and(|most| keys.len() > most) {
            self.life.sim.count(Fault::TooManyRows);
            return Err(Failure::Conflict("the statement took too long".to_owned()));
        }
        let locked = self.inner.lock(tx, keys).await?;
        let answered = |part: &Option<Part<_>>| part.as_ref().is_some_and(|p| p.answer.is_some());
        for (key, record) in keys.iter().zip(&locked.records) {
            let (saga, step) = (key.saga, key.step.clone());
            let action = CommandId { saga, step, direction: Direction::Action };
            let undone = answered(&record.action) && answered(&record.compensation);
            *lock(&self.life.undone).entry(action).or_insert(true) &= undone;
        }
        if self.life.sim.strikes(Fault::Conflict) {
            self.life.say(|| "deadlock".to_owned());
            return Err(Failure::Conflict("deadlock".to_owned()));
        }
        Ok(locked)
    }

    async fn record(&self, tx: &mut Transaction, entries: &[Entry]) -> Result<(), Failure> {
        self.life.pass(Point::BeforeRecord).await;
        self.inner.record(tx, entries).await?;
        self.checks.recorded(self.service, entries);
        Ok(())
    }

    async fn raise(&self, watermark: Watermark, age: Duration) -> Result<Watermark, Failure> {
        self.life.thaw().await;
        self.inner.raise(watermark, age).await
    }

    async fn prune(&self, from: SagaId, below: Watermark, limit: usize) -> Result<Pruned, Failure> {
        self.life.thaw().await;
        self.inner.prune(from, below, limit).await
    }

    const SETTLING: Duration = Inbox::SETTLING;

    async fn commit(&self, tx: Transaction) -> Result<(), Failure> {
        self.life.pass(Point::BeforeCommit).await;
        let fate = Fate::of(&self.life).await;
        if fate.is_written() {
            self.checks.service_commits(&self.life, self.service, &tx);
            self.inner.commit(tx).await?;
            self.checks.service_committed(&self.life, self.service);
        } else {
            drop(tx);
        }
        if let Some(failure) = fate.failure() {
            self.life.say(|| format!("commit: {failure}"));
            return Err(failure);
        }
        self.life.pass(Point::AfterCommit).await;
        Ok(())
    }
}
