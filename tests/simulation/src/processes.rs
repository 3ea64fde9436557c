//! The processes: the real loops over this run's ports. A process that ends is started again.

use std::{
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use saga_engine::{Engine, Handle};
use saga_kit::{Participant, Settings, Store};
use saga_messaging::Transport;
use saga_payment::{BreakerSettings, Provider, ProviderSettings};
use saga_sqlite::Inbox;
use saga_store::sqlite::SagaTable;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    inbox::SimInbox,
    life::Life,
    planted::{PlantedInbox, PlantedStore, PlantedTransport, PlantedWire},
    provider::SimWire,
    saga_store::SimStore,
    sim::lock,
    transport::SimTransport,
    world::World,
};

/// The role of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Drives sagas.
    Orchestrator,
    /// A replica of the order service.
    Order,
    /// A replica of the inventory service.
    Inventory,
    /// A replica of the payment service.
    Payment,
}

/// One process, over all its restarts.
pub(crate) struct Process {
    /// The name for transcripts.
    pub(crate) name: String,
    role: Role,
    now: Mutex<Option<Running>>,
}

#[derive(Clone)]
struct Running {
    life: Arc<Life>,
    stop: CancellationToken,
    cut: Arc<Notify>,
    handle: Option<Handle>,
}

impl Process {
    /// Creates a process that does not run yet.
    #[must_use]
    pub(crate) fn new(role: Role, number: usize) -> Arc<Self> {
        let role_name = match role {
            Role::Orchestrator => "orchestrator",
            Role::Order => "order",
            Role::Inventory => "inventory",
            Role::Payment => "payment",
        };
        let name = format!("{role_name}-{number}");
        Arc::new(Self { name, role, now: Mutex::default() })
    }

    /// Returns the handle for clients, if the process is a running orchestrator.
    pub(crate) fn handle(&self) -> Option<Handle> {
        let now = lock(&self.now);
        now.as_ref().filter(|running| !running.life.is_dead())?.handle.clone()
    }

    /// Kills the process in the middle of its work.
    pub(crate) fn kill(&self) {
        self.with(|running| running.life.kill("anywhere"));
    }

    /// Tells the process to stop.
    pub(crate) fn stop(&self) {
        self.with(|running| {
            running.life.say(|| "is told to stop".to_owned());
            running.stop.cancel();
        });
    }

    /// Freezes the process.
    pub(crate) fn freeze(&self, time: Duration) {
        self.with(|running| running.life.freeze(time));
    }

    /// Cuts its connections.
    pub(crate) fn cut(&self) {
        self.with(|running| running.cut.notify_waiters());
    }

    fn with(&self, change: impl FnOnce(&Running)) {
        let now = lock(&self.now).clone();
        if let Some(running) = now {
            change(&running);
        }
    }

    /// Runs the process, and starts it again whenever it ends.
    pub(crate) async fn supervise(self: Arc<Self>, world: Arc<World>) {
        loop {
            let life = Life::new(&self.name, Arc::clone(&world.sim));
            let (stop, cut) = (CancellationToken::new(), Arc::new(Notify::new()));
            let transport =
                SimTransport::new(Arc::clone(&world.broker), Arc::clone(&life), Arc::clone(&cut));
            let (mut running, handle) = self.start(&world, &life, transport, &stop);
            *lock(&self.now) =
                Some(Running { life: Arc::clone(&life), stop: stop.clone(), cut, handle });
            tokio::select! {
                biased;
                () = life.died() => {
                    running.abort();
                    let _ = (&mut running).await;
                }
                ended = &mut running => match ended {
                    Ok(()) if stop.is_cancelled() => life.say(|| "has stopped".to_owned()),
                    Ok(()) => world.sim.violated(format!("{} ended by itself", self.name)),
                    Err(error) => world.sim.violated(format!("{} panicked: {error}", self.name)),
                },
            }
            *lock(&self.now) = None;
            tokio::time::sleep(world.sim.dice.millis(50..=4_000)).await;
        }
    }

    fn start(
        &self,
        world: &World,
        life: &Arc<Life>,
        transport: SimTransport,
        stop: &CancellationToken,
    ) -> (tokio::task::JoinHandle<()>, Option<Handle>) {
        let planted = world.plan.planted;
        let transport = PlantedTransport::new(transport, planted);
        let store = |database, service| {
            let inbox = SimInbox::new(Inbox::new(database), service, Arc::clone(life), world);
            PlantedInbox::new(inbox, planted, Arc::clone(&world.checks))
        };
        let stop = stop.clone();
        let running = match self.role {
            Role::Orchestrator => {
                let table = SagaTable::new(world.databases.orchestrator.clone());
                let store = SimStore::new(table, Arc::clone(life), world);
                let store = PlantedStore::new(store, planted);
                let (engine, handle) = Engine::new(store, transport, world.hosted.clone());
                return (tokio::spawn(engine.run(stop)), Some(handle));
            }
            Role::Order => {
                let participant =
                    saga_order::participant(store(world.databases.order.clone(), "order"));
                participate(participant, transport, stop)
            }
            Role::Inventory => {
                let inbox = store(world.databases.inventory.clone(), "inventory");
                participate(saga_inventory::participant(inbox), transport, stop)
            }
            Role::Payment => {
                let settings = ProviderSettings {
                    timeout: Duration::from_millis(2_000),
                    breaker: BreakerSettings {
                        longest_pause: Duration::from_secs(8),
                        ..BreakerSettings::default()
                    },
                    ..ProviderSettings::new("http://provider")
                };
                let wire = SimWire::new(world.provider.clone(), Arc::clone(life));
                let wire = PlantedWire::new(wire, planted);
                let provider = Provider::over(wire, settings).expect("a URL");
                let provider = Arc::new(provider);
                let probing = Arc::clone(&provider).keep_probing(stop.clone());
                let inbox = store(world.databases.payment.clone(), "payment");
                let participant = saga_payment::participant(inbox, provider);
                let running = participant.run(transport, Settings::default(), stop);
                // One task for both, so that both die together.
                tokio::spawn(async move {
                    tokio::select! {
                        biased;
                        () = running => {}
                        () = async { probing.await; pending().await } => {}
                    }
                })
            }
        };
        (running, None)
    }
}

fn participate<S: Store, T: Transport>(
    participant: Participant<S>,
    transport: T,
    stop: CancellationToken,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(participant.run(transport, Settings::default(), stop))
}
