//! A shop without faults, except those that a test causes.

use std::{sync::Arc, time::Duration};

use saga_core::{Admitted, Hosted, Instance, Saga, SagaId, State};
use saga_engine::{IdempotencyKey, NewSaga, Placed};
use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    Options,
    books::Books,
    clients::orchestrator,
    dice::Dice,
    faults::Rates,
    plan::Plan,
    sim::{Sim, lock},
    world::World,
};

/// Time that a step waits for its first answer; the longest wait is eight times that.
pub(crate) const STEP_TIMEOUT_MILLIS: u64 = 400;
/// A deadline longer than all attempts before the pivot together.
pub(crate) const LONG_DEADLINE_MILLIS: u64 = 60_000;
/// Time limit for any wait: longer than all attempts, and than a stuck saga's next attempt.
const PATIENCE: Duration = Duration::from_secs(600);
/// The time within which every message under way arrives.
const SETTLING: Duration = Duration::from_secs(30);
/// The number of lines from the end of the transcript that a failure shows.
const TOLD_LINES: usize = 60;

/// A shop with running processes.
pub struct Shop {
    pub(crate) world: Arc<World>,
    running: JoinSet<()>,
}

impl Shop {
    /// Runs a test in a shop on its own clock.
    ///
    /// # Panics
    /// If there is no runtime.
    pub(crate) fn with<R>(hosted: Hosted, test: impl AsyncFnOnce(&Self) -> R) -> R {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime of one thread").block_on(async {
            let mut shop = Self::open(hosted).await;
            let result = test(&shop).await;
            shop.running.shutdown().await;
            result
        })
    }

    async fn open(hosted: Hosted) -> Self {
        let dice = Dice::new(1);
        let plan = Plan {
            timers: true,
            step_timeout_millis: Some(STEP_TIMEOUT_MILLIS),
            delivery_limit: None,
            waiters: false,
            ..Plan::draw(&dice, &dice, Options { no_faults: true, ..Options::default() })
        };
        let mut world = World::new(Arc::new(Sim::new(dice, Rates::none(), true)), plan).await;
        world.hosted = hosted;
        let world = Arc::new(world);
        let mut running = JoinSet::new();
        for process in &world.processes {
            running.spawn(Arc::clone(process).supervise(Arc::clone(&world)));
        }
        Self { world, running }
    }

    /// Runs one of the shop's sagas to its completion, to prepare for others.
    ///
    /// # Panics
    /// If it ends in another state.
    pub async fn complete<S: Saga>(&self, data: S) -> SagaId {
        let id = SagaId(self.world.sim.uuid());
        self.begin(id, data, LONG_DEADLINE_MILLIS).await;
        let saga = self.until(id, "completed", |saga| saga.ended().is_some()).await;
        self.hold(saga.phase.state() == State::Completed, || format!("it ends as {saga:?}"));
        sleep(SETTLING).await;
        id
    }

    /// Begins a saga.
    pub(crate) async fn begin<S: Saga>(&self, id: SagaId, data: S, deadline_millis: u64) {
        let caller = "ada".to_owned();
        let key = IdempotencyKey {
            caller: caller.clone(),
            method: S::NAME,
            key: id.to_string(),
            payload_hash: Vec::new(),
            saga: id,
        };
        let admitted = Admitted { caller, deadline_millis, traceparent: None };
        let handle = orchestrator(&self.world).await;
        let placed = handle.requests.place(NewSaga::of(key, &data, admitted)).await;
        self.hold(matches!(placed, Ok(Placed::New(_))), || format!("it begins: {placed:?}"));
        lock(&self.world.asked.accepted).push(id);
    }

    /// Waits until `is_so` holds for a saga.
    pub(crate) async fn until(
        &self,
        id: SagaId,
        what: &str,
        is_so: impl Fn(&Instance) -> bool,
    ) -> Instance {
        let until = Instant::now() + PATIENCE;
        loop {
            let sagas = self.world.checks.sagas();
            let saga = sagas.into_iter().find(|saga| saga.id == id);
            if let Some(saga) = saga.clone().filter(|saga| is_so(saga)) {
                return saga;
            }
            self.hold(Instant::now() < until, || format!("it is never {what}: {saga:?}"));
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until all messages have arrived, and returns the rows. Every saga must have ended.
    pub(crate) async fn settle(&self) -> Books {
        sleep(SETTLING).await;
        self.world.judge(true, None).await;
        let violations = self.world.sim.violations();
        self.hold(violations.is_empty(), || violations.join("\n"));
        self.books().await
    }

    /// Returns the rows as they are now.
    pub(crate) async fn books(&self) -> Books {
        Books::read(&self.world).await
    }

    /// Checks a condition.
    ///
    /// # Panics
    /// If it does not hold; shows the end of the transcript.
    pub(crate) fn hold(&self, is_so: bool, otherwise: impl FnOnce() -> String) {
        if !is_so {
            let transcript = self.world.sim.transcript();
            let last = &transcript[transcript.len().saturating_sub(TOLD_LINES)..];
            panic!("{}\n{}", otherwise(), last.join("\n"));
        }
    }
}
