//! The run of one seed, from its start to its verdict.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use saga_core::{Failure, Hosted, Instance, SagaId, State, StepState};
use saga_engine::Handle;
use saga_inventory::{receipt::Receipt, table::Shelf as _};
use saga_proto::Money;
use saga_sqlite::{Database, Schema};
use tokio::{
    runtime::Builder,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    broker::Broker,
    check::Checks,
    clients::{Asked, GOODS, client, impatient},
    dice::Dice,
    faults::{Fault, Rates},
    forget::{Health, Link},
    plan::{Outage, Plan},
    planted::{self, Planted},
    processes::{Process, Role},
    provider::SimProvider,
    report::Outcome,
    sim::{Sim, Watch, lock},
    stranger::{stranger, wait_for_unreadable},
};

/// Time limit for all sagas to end after the faults. It is several times the pause after which a
/// stuck saga sends again. It holds even after a clock was an hour fast, because no saga sleeps for
/// that long.
const TO_THE_END: Duration = Duration::from_secs(900);
/// Time limit for all sagas to end in a run in which only redelivered messages may wake a saga.
const WITHOUT_TIMERS: Duration = Duration::from_secs(120);
/// Time limit for messages in transit to arrive.
const SETTLE: Duration = Duration::from_secs(30);
/// Duration of a long outage. It is longer than all attempts of a step together.
const LONG_OUTAGE: Duration = Duration::from_secs(1_200);
/// Probability, about every second, that a database begins to forget.
const FORGETS: f64 = 0.6;
/// Interval at which a run checks whether all sagas have ended.
const LOOK: Duration = Duration::from_secs(1);

/// Options of a run, besides its seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// True if the run keeps a transcript.
    pub transcribe: bool,
    /// True if the run has no faults.
    pub no_faults: bool,
    /// A bug to plant, which the run must notice.
    pub planted: Option<Planted>,
}

/// The state that all tasks of a run share.
pub(crate) struct World {
    pub(crate) sim: Arc<Sim>,
    pub(crate) plan: Plan,
    pub(crate) checks: Arc<Checks>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) provider: SimProvider,
    pub(crate) databases: Databases,
    pub(crate) hosted: Hosted,
    pub(crate) asked: Asked,
    pub(crate) cancelled: Mutex<BTreeSet<SagaId>>,
    /// Equations of the audit that fail because a database has forgotten commits.
    pub(crate) differences: AtomicU64,
    pub(crate) processes: Vec<Arc<Process>>,
    /// Receives the sagas for which the provider was asked for a hold but did not answer.
    unheard: Mutex<Option<mpsc::UnboundedReceiver<SagaId>>>,
}

/// The databases of the participants and the orchestrators, with their clocks.
pub(crate) struct Databases {
    pub(crate) orchestrator: Database,
    pub(crate) order: Database,
    pub(crate) inventory: Database,
    pub(crate) payment: Database,
    /// Whether each database answers, by its role.
    pub(crate) health: BTreeMap<&'static str, Arc<Health>>,
    clocks: Vec<Watch>,
}

impl Databases {
    /// Returns a client's link to a database.
    pub(crate) fn link(&self, role: &'static str) -> Link {
        Link::new(&self.health[role])
    }
}

/// Runs one seed and returns the outcome.
///
/// # Panics
/// If no runtime can be created.
#[must_use]
pub fn run(seed: u64, options: Options) -> Outcome {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime of one thread");
    runtime.block_on(async {
        let (dice, more) = (Dice::new(seed), Dice::new(!seed));
        let plan = Plan::draw(&dice, &more, options);
        let sim = Arc::new(Sim::new(dice, Rates::none(), options.transcribe));
        let world = World::new(sim, plan).await;
        Arc::new(world).run(seed).await
    })
}

impl World {
    pub(crate) async fn new(sim: Arc<Sim>, plan: Plan) -> Self {
        let clocks: Vec<Watch> = (0..4).map(|_| Watch::new(&sim)).collect();
        let database = |schema: &Schema, clock: &Watch| {
            Database::in_memory(schema, clock.clock()).expect("a database in memory")
        };
        let databases = Databases {
            orchestrator: database(&saga_store::sqlite::SCHEMA, &clocks[0]),
            order: database(&saga_order::table::sqlite::SCHEMA, &clocks[1]),
            inventory: database(&saga_inventory::table::sqlite::SCHEMA, &clocks[2]),
            payment: database(&saga_payment::table::sqlite::SCHEMA, &clocks[3]),
            health: ["orchestrator", "order", "inventory", "payment"]
                .map(|role| (role, Arc::default()))
                .into(),
            clocks: clocks.clone(),
        };
        receive_goods(&databases.inventory).await.expect("goods are received");
        let sound = saga_definitions::hosted(plan.step_timeout_millis);
        let hosted = planted::hosted(&sound, plan.planted);
        let checks = Checks::new(Arc::clone(&sim), sound, clocks[0].clone(), &plan);
        let limit = plan.delivery_limit;
        // A saga that its database has forgotten has no row that could tell the forgeries from others.
        let forges = plan.strangers && !plan.forgets;
        let broker = Broker::new(Arc::clone(&sim), Arc::clone(&checks), limit, plan.timers, forges);
        let orchestrators = (1..=plan.orchestrators).map(|n| Process::new(Role::Orchestrator, n));
        let replicas = [Role::Order, Role::Inventory, Role::Payment]
            .into_iter()
            .flat_map(|role| [1, 2].map(|number| Process::new(role, number)));
        let (unheard, of_unheard) = mpsc::unbounded_channel();
        Self {
            provider: SimProvider::new(&sim, &Watch::new(&sim), Arc::clone(&checks), unheard),
            unheard: Mutex::new(Some(of_unheard)),
            processes: orchestrators.chain(replicas).collect(),
            asked: Asked::default(),
            cancelled: Mutex::default(),
            differences: AtomicU64::default(),
            sim,
            plan,
            checks,
            broker,
            databases,
            hosted,
        }
    }

    /// Returns the running orchestrators, for clients.
    pub(crate) fn orchestrators(&self) -> impl Iterator<Item = Handle> + '_ {
        self.processes.iter().filter_map(|process| process.handle())
    }

    async fn run(self: Arc<Self>, seed: u64) -> Outcome {
        let mut running = JoinSet::new();
        for process in &self.processes {
            running.spawn(Arc::clone(process).supervise(Arc::clone(&self)));
        }
        if let Some(unheard) = lock(&self.unheard).take() {
            running.spawn(impatient(Arc::clone(&self), unheard));
        }
        if self.plan.strangers {
            running.spawn(stranger(Arc::clone(&self)));
        }
        if self.plan.waiters {
            running.spawn(wait_for_unreadable(Arc::clone(&self)));
        }
        // Faults start only now, so that goods could be received and processes started before.
        self.sim.set_rates(self.plan.rates.clone());
        let mut clients = JoinSet::new();
        for number in 1..=self.plan.orders {
            clients.spawn(client(Arc::clone(&self), number));
        }
        // After a violation, the rest of the run proves nothing more.
        tokio::select! {
            biased;
            () = self.sim.first_violation() => {}
            () = self.to_the_end(&mut clients) => {}
        }
        clients.shutdown().await;
        running.shutdown().await;
        Outcome::of(seed, &self)
    }

    async fn to_the_end(self: &Arc<Self>, clients: &mut JoinSet<()>) {
        let outage = self.plan.outage.map(|outage| self.begin(outage));
        let mut forgetting = JoinSet::new();
        self.harm(&mut forgetting).await;
        while forgetting.join_next().await.is_some() {}
        if let Some(until) = outage {
            self.sim.set_rates(Rates::none());
            sleep_until(until).await;
        }
        self.sim.heal();
        self.databases.clocks.iter().for_each(|clock| clock.set_off(0));
        let ended = self.end(clients).await;
        self.judge(ended, Some(self.plan.orders)).await;
    }

    /// Injects the faults that no port injects. Draws one about every second.
    async fn harm(self: &Arc<Self>, forgetting: &mut JoinSet<()>) {
        let (sim, dice) = (&self.sim, &self.sim.dice);
        let until = Instant::now() + self.plan.faults_for;
        while Instant::now() < until {
            sleep(dice.millis(200..=1_800)).await;
            let one = dice.pick(&self.processes);
            if self.plan.forgets && forgetting.is_empty() && dice.chance(FORGETS) {
                forgetting.spawn(Arc::clone(self).forget());
            }
            while forgetting.try_join_next().is_some() {}
            if sim.strikes(Fault::Crash) {
                one.kill();
            }
            if sim.strikes(Fault::Restart) {
                one.stop();
            }
            if sim.strikes(Fault::Freeze) {
                one.freeze(dice.millis(500..=30_000));
            }
            if sim.strikes(Fault::Cut) {
                one.cut();
            }
            if sim.strikes(Fault::BrokerAway) {
                self.broker.go_away(dice.millis(200..=15_000));
            }
            if sim.strikes(Fault::ProviderAway) {
                sim.say("provider", || "is away".to_owned());
                self.provider.go_away(dice.millis(200..=15_000));
            }
            if sim.strikes(Fault::ClockJump) {
                let seconds = *dice.pick(&[-3_600, -60, 0, 60, 3_600]);
                // Picks the clock of the sagas' database most often, because all waiting sagas
                // depend on it.
                let which =
                    if dice.chance(0.5) { 0 } else { dice.below(self.databases.clocks.len()) };
                sim.say("world", || format!("clock {which} is off by {seconds} s"));
                self.databases.clocks[which].set_off(seconds);
            }
        }
    }

    /// Begins a long outage, and returns its end.
    fn begin(&self, outage: Outage) -> Instant {
        self.sim.say("world", || format!("{outage:?} is away for {LONG_OUTAGE:?}"));
        self.sim.count(Fault::LongOutage);
        match outage {
            Outage::Provider => self.provider.go_away(LONG_OUTAGE),
            Outage::Broker => self.broker.go_away(LONG_OUTAGE),
            Outage::Orchestrator => self.databases.health["orchestrator"].go_away(LONG_OUTAGE),
        }
        Instant::now() + LONG_OUTAGE
    }

    /// Waits until clients have their answers and all sagas have ended. Returns false if some have
    /// not.
    async fn end(&self, clients: &mut JoinSet<()>) -> bool {
        let patience = if self.plan.timers { TO_THE_END } else { WITHOUT_TIMERS };
        let until = Instant::now() + patience;
        let answered = async {
            while let Some(ended) = clients.join_next().await {
                if let Err(error) = ended {
                    self.sim.violated(format!("a client panicked: {error}"));
                }
            }
        };
        let answered = tokio::time::timeout_at(until, answered).await.is_ok();
        let lost = |saga: &Instance| self.checks.touched(saga.id);
        while answered && Instant::now() < until {
            if self.checks.in_progress().iter().all(|saga| lost(saga) && is_halted(saga)) {
                // Waits for all messages in transit to arrive.
                sleep(SETTLE).await;
                return true;
            }
            sleep(LOOK).await;
        }
        for saga in self.checks.in_progress() {
            // A saga that a lost commit concerns may be stuck: its reason names it. Or its resume
            // may be lost.
            if lost(&saga) && (saga.phase.state() == State::Stuck || saga.paused.is_some()) {
                continue;
            }
            let (now, wake) = (self.checks.saga_clock(), saga.wake_at);
            let wake = wake.map(|at| (at.0 - now.0) as f64 / 1e6);
            self.sim.violated(format!(
                "saga {} has not ended: {:?} {:?}, to be woken in {wake:?} s",
                saga.id, saga.phase, saga.steps
            ));
        }
        if !answered {
            self.sim.violated("a client has no answer");
        }
        answered
    }
}

/// Returns whether a saga is paused, or stuck at an answer, so that it sends nothing by itself.
fn is_halted(saga: &Instance) -> bool {
    if saga.paused.is_some() {
        return true;
    }
    let halted = |step: &StepState| matches!(step, StepState::Halted { .. });
    saga.phase.state() == State::Stuck && saga.steps.iter().any(halted)
}

/// Receives the goods of the shop into the catalogue.
async fn receive_goods(inventory: &Database) -> Result<(), Failure> {
    for (sku, quantity, price) in GOODS {
        let receipt = Receipt {
            key: format!("receipt-{sku}"),
            sku: sku.to_owned(),
            quantity,
            name: Some(sku.to_owned()),
            price: Some(Money::new(price, "EUR")),
        };
        let mut tx = inventory.begin().await?;
        tx.claim(&receipt).await?;
        let product = receipt.take_in(None).expect("a new product that is described");
        tx.receive(&product, &receipt).await?;
        tx.commit()?;
    }
    Ok(())
}
