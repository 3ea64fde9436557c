//! The run of one seed, from its start to its verdict.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use saga_core::{Failure, Hosted, Saga as _, SagaId, State};
use saga_definitions::PlaceOrder;
use saga_engine::Handle;
use saga_inventory::{receipt::Receipt, table::Shelf as _};
use saga_messaging::Queue;
use saga_proto::Money;
use saga_sqlite::{Database, Schema};
use tokio::{
    runtime::Builder,
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    audit::{self, Expected},
    broker::Broker,
    check::Checks,
    clients::{Asked, GOODS, client, impatient},
    dice::Dice,
    faults::{Fault, Rates},
    planted::{self, Planted},
    processes::{Process, Role},
    provider::SimProvider,
    report::Outcome,
    sim::{Sim, Watch, lock},
};

/// Time limit for all sagas to end after the faults. It is several times the pause after which a
/// stuck saga sends again. It holds even after a clock was an hour fast, because no saga sleeps for
/// that long.
const TO_THE_END: Duration = Duration::from_secs(900);
/// Time limit for all sagas to end in a run in which only redelivered messages may wake a saga.
const WITHOUT_TIMERS: Duration = Duration::from_secs(120);
/// Time limit for messages in transit to arrive.
const SETTLE: Duration = Duration::from_secs(30);
/// Interval at which a run checks whether all sagas have ended.
const LOOK: Duration = Duration::from_secs(1);

/// The plan of a run. Its values are drawn from the seed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rates: Rates,
    pub(crate) orchestrators: usize,
    pub(crate) orders: usize,
    pub(crate) orders_within_millis: u64,
    pub(crate) faults_for: Duration,
    /// True if sagas are woken when they are due.
    pub(crate) timers: bool,
    /// True if orchestrators cache the sagas that they wrote last.
    pub(crate) remembers: bool,
    pub(crate) step_timeout_millis: u64,
    pub(crate) delivery_limit: Option<u32>,
    pub(crate) planted: Option<Planted>,
    /// Number of orchestrators that do not host version 2 of place-order, as in an upgrade.
    pub(crate) old_orchestrators: usize,
    /// Version under which the other orchestrators begin orders.
    pub(crate) begin: u32,
}

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
    clocks: Vec<Watch>,
}

impl Plan {
    pub(crate) fn draw(dice: &Dice, options: Options) -> Self {
        let timers = !dice.chance(0.15);
        let mut rates = Rates::draw(dice);
        if !timers {
            // After these faults a command is lost, and only its saga's wake-up sends it again.
            rates = rates.without(&[
                Fault::Conflict,
                Fault::PublishRefused,
                Fault::CallLost,
                Fault::CallLate,
                Fault::AnswerLost,
                Fault::SlowAnswer,
                Fault::ProviderAway,
                Fault::ClockJump,
            ]);
        }
        if options.no_faults {
            rates = Rates::none();
        }
        let upgrading = !options.no_faults && dice.chance(0.3);
        Self {
            rates,
            orchestrators: if dice.chance(0.2) { 3 } else { 2 },
            orders: 10 + dice.below(5),
            orders_within_millis: *dice.pick(&[50, 2_000, 15_000]),
            faults_for: dice.millis(10_000..=40_000),
            timers,
            remembers: dice.chance(0.5),
            step_timeout_millis: *dice.pick(&[400, 1_000, 3_000]),
            delivery_limit: timers.then(|| *dice.pick(&[3, 10])),
            planted: options.planted,
            old_orchestrators: usize::from(upgrading),
            begin: if upgrading && dice.chance(0.3) { 1 } else { PlaceOrder::VERSION },
        }
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
        let dice = Dice::new(seed);
        let plan = Plan::draw(&dice, options);
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
            clocks: clocks.clone(),
        };
        receive_goods(&databases.inventory).await.expect("goods are received");
        let sound = saga_definitions::hosted(Some(plan.step_timeout_millis));
        let hosted = planted::hosted(&sound, plan.planted);
        let checks = Checks::new(Arc::clone(&sim), sound, clocks[0].clone(), plan.timers);
        let limit = plan.delivery_limit;
        let broker = Broker::new(Arc::clone(&sim), Arc::clone(&checks), limit, plan.timers);
        let orchestrators = (1..=plan.orchestrators).map(|n| Process::new(Role::Orchestrator, n));
        let replicas = [Role::Order, Role::Inventory, Role::Payment]
            .into_iter()
            .flat_map(|role| [1, 2].map(|number| Process::new(role, number)));
        let (unheard, of_unheard) = mpsc::unbounded_channel();
        Self {
            provider: SimProvider::new(&sim, &Watch::new(&sim), unheard),
            unheard: Mutex::new(Some(of_unheard)),
            processes: orchestrators.chain(replicas).collect(),
            asked: Asked::default(),
            cancelled: Mutex::default(),
            sim,
            plan,
            checks,
            broker,
            databases,
            hosted,
        }
    }

    /// Returns the definitions that an orchestrator hosts.
    pub(crate) fn hosted_by(&self, orchestrator: usize) -> Hosted {
        let hosted = self.hosted.clone();
        if orchestrator <= self.plan.old_orchestrators {
            return hosted.without(PlaceOrder::NAME, PlaceOrder::VERSION);
        }
        hosted.beginning(PlaceOrder::NAME, self.plan.begin).expect("version 1 is hosted too")
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

    async fn to_the_end(&self, clients: &mut JoinSet<()>) {
        self.harm().await;
        self.sim.heal();
        self.databases.clocks.iter().for_each(|clock| clock.set_off(0));
        let ended = self.end(clients).await;
        self.judge(ended, Some(self.plan.orders)).await;
    }

    /// Injects the faults that no port injects. Draws one about every second.
    async fn harm(&self) {
        let (sim, dice) = (&self.sim, &self.sim.dice);
        let until = Instant::now() + self.plan.faults_for;
        while Instant::now() < until {
            sleep(dice.millis(200..=1_800)).await;
            let one = dice.pick(&self.processes);
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
        while answered && Instant::now() < until {
            if self.checks.in_progress().is_empty() {
                // Waits for all messages in transit to arrive.
                sleep(SETTLE).await;
                return true;
            }
            sleep(LOOK).await;
        }
        for saga in self.checks.in_progress() {
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
        false
    }

    /// Checks what must hold once every saga has ended. The audit's equations expect `orders`
    /// orders. Without a number they are not checked, because a test has then answered in a
    /// participant's place, and those answers are not on record.
    pub(crate) async fn judge(&self, ended: bool, orders: Option<usize>) {
        let mut accepted = lock(&self.asked.accepted).clone();
        accepted.sort_unstable();
        let sagas: Vec<SagaId> = self.checks.sagas().iter().map(|saga| saga.id).collect();
        if accepted != sagas {
            self.sim.violated(format!("accepted {} orders, {} sagas", accepted.len(), sagas.len()));
        }
        if !ended {
            return;
        }
        self.checks.unheard();
        self.checks.flooded();
        let quarantined = self.checks.quarantined();
        if let Some(orders) = orders {
            for offender in audit::offenders(self, &Expected { orders, quarantined }).await {
                self.sim.violated(offender);
            }
        }
        for saga in self.checks.sagas() {
            let undone = saga.phase.state() == State::Compensated;
            if lock(&self.cancelled).contains(&saga.id) && !undone {
                self.sim
                    .violated(format!("the cancel of {} was accepted, and it went on", saga.id));
            }
        }
        for participant in ["order", "inventory", "payment"] {
            let queue = Queue::Commands { participant: participant.to_owned() };
            self.empty(&queue);
        }
        self.empty(&Queue::Replies);
        self.empty(&Queue::Quarantine);
    }

    fn empty(&self, queue: &Queue) {
        let depth = self.broker.depth(queue);
        if depth > 0 {
            self.sim.violated(format!("{depth} messages are left in {queue:?}"));
        }
    }
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
