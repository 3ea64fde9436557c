//! Runs the roles over embedded adapters: SQLite files in one directory, and messages in this
//! process. Engine, kit, rules and gRPC are the same as over servers.

use std::{net::SocketAddr, time::Duration};

use saga_core::LEAST_RETENTION;
use saga_kit::Participant;
use saga_messaging::{InProcess, InProcessSettings};
use saga_sqlite::{Clock, DataDir, Database, Inbox};
use saga_store::sqlite::SagaTable;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    Together, listen, orchestrate,
    participants::{self, GrpcService},
    provider,
    servers::PARTICIPANTS,
};
use crate::config::{Account, Embedded as Settings};

/// How long a restarted role waits for its previous address to become free.
const TAKE_OVER_LIMIT: Duration = Duration::from_secs(10);
const TAKE_OVER_PAUSE: Duration = Duration::from_millis(20);

/// The roles of an embedded system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Role {
    Provider,
    Order,
    Inventory,
    Payment,
    Orchestrator,
}

/// An embedded system: its directory, which no other process uses, its databases, and the state
/// that its roles share.
pub(crate) struct Embedded {
    order: Database,
    inventory: Database,
    payment: Database,
    orchestrator: Database,
    /// The lock on the directory. It is held until the databases are closed.
    _dir: DataDir,
    transport: InProcess,
    settings: Settings,
}

/// Runs `saga all --data-dir`.
pub(crate) async fn embedded(
    settings: Settings,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let system = std::sync::Arc::new(Embedded::open(settings).await?);
    let stop = shutdown.child_token();
    let mut roles = Together::new(stop.clone());
    for role in Role::ALL {
        let (system, stop) = (system.clone(), stop.clone());
        roles.start(role.name(), async move { system.run(role, stop).await });
    }
    roles.wait().await
}

impl Role {
    /// All roles, in the order in which they are started.
    pub(crate) const ALL: [Self; 5] =
        [Self::Provider, Self::Order, Self::Inventory, Self::Payment, Self::Orchestrator];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Payment => "payment",
            Self::Orchestrator => "orchestrator",
        }
    }

    /// Returns the role's name as it is used in a sentence.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Provider => "the payment provider",
            Self::Order => "the order service",
            Self::Inventory => "the inventory service",
            Self::Payment => "the payment service",
            Self::Orchestrator => "the orchestrator",
        }
    }
}

impl Embedded {
    /// Locks the directory and opens every database in it, so that any mistake is reported before a
    /// role runs. If a port is 0, a free port is chosen now and used from then on.
    pub(crate) async fn open(mut settings: Settings) -> anyhow::Result<Self> {
        let dir = DataDir::take(&settings.data_dir)?;
        for address in [
            &mut settings.provider.listen,
            &mut settings.order,
            &mut settings.inventory,
            &mut settings.payment,
            &mut settings.front.listen,
        ] {
            if address.port() == 0 {
                *address = TcpListener::bind(*address).await?.local_addr()?;
            }
        }
        let transport = InProcess::new(InProcessSettings {
            participants: PARTICIPANTS.map(str::to_owned).to_vec(),
            ..InProcessSettings::default()
        });
        let database = |role: Role, schema| {
            Database::open(&dir.database(role.name()), schema, Clock::system())
        };
        Ok(Self {
            order: database(Role::Order, &saga_order::table::sqlite::SCHEMA)?,
            inventory: database(Role::Inventory, &saga_inventory::table::sqlite::SCHEMA)?,
            payment: database(Role::Payment, &saga_payment::table::sqlite::SCHEMA)?,
            orchestrator: database(Role::Orchestrator, &saga_store::sqlite::SCHEMA)?,
            _dir: dir,
            transport,
            settings,
        })
    }

    /// Returns the address at which a role listens.
    pub(crate) fn address(&self, role: Role) -> SocketAddr {
        match role {
            Role::Provider => self.settings.provider.listen,
            Role::Order => self.settings.order,
            Role::Inventory => self.settings.inventory,
            Role::Payment => self.settings.payment,
            Role::Orchestrator => self.settings.front.listen,
        }
    }

    /// Runs a role until shutdown. If an earlier run of the role was killed in the middle of its
    /// work, this run continues that work.
    pub(crate) async fn run(&self, role: Role, shutdown: CancellationToken) -> anyhow::Result<()> {
        let listener = self.listen(role).await?;
        let transport = self.transport.attach();
        let least_retention = self.settings.front.retention.min(LEAST_RETENTION);
        let wires = Wires { transport, listener, least_retention, shutdown };
        match role {
            Role::Provider => {
                let Wires { listener, shutdown, .. } = wires;
                provider::run(self.settings.provider.clone(), listener, shutdown).await
            }
            Role::Order => self.order(wires).await,
            Role::Inventory => self.inventory(wires).await,
            Role::Payment => self.payment(wires).await,
            Role::Orchestrator => self.orchestrator(wires).await,
        }
    }

    async fn order(&self, wires: Wires) -> anyhow::Result<()> {
        let participant = saga_order::participant(Inbox::new(self.order.clone()));
        let reads = saga_order::table::sqlite::SqliteReads::new(self.order.clone());
        let reads = saga_order::grpc::service(reads);
        wires.participate(participant, reads).await
    }

    async fn inventory(&self, wires: Wires) -> anyhow::Result<()> {
        let store = Inbox::new(self.inventory.clone());
        let participant = saga_inventory::participant(store.clone());
        let catalogue = saga_inventory::table::sqlite::SqliteCatalogue::new(self.inventory.clone());
        let catalogue = saga_inventory::grpc::service(store, catalogue);
        wires.participate(participant, catalogue).await
    }

    async fn payment(&self, wires: Wires) -> anyhow::Result<()> {
        let account = Account {
            url: self.url(Role::Provider),
            timeout: self.settings.provider_timeout,
            http2: true,
            breaker: self.settings.breaker.clone(),
        };
        let provider = participants::provider(account, &wires.shutdown)?;
        let participant =
            saga_payment::participant(Inbox::new(self.payment.clone()), provider.clone());
        let availability = saga_payment::grpc::service(provider);
        wires.participate(participant, availability).await
    }

    async fn orchestrator(&self, wires: Wires) -> anyhow::Result<()> {
        let neighbours = orchestrate::neighbours(
            &self.url(Role::Order),
            &self.url(Role::Inventory),
            &self.url(Role::Payment),
        )?;
        let (store, front) =
            (SagaTable::new(self.orchestrator.clone()), self.settings.front.clone());
        let Wires { transport, listener, shutdown, .. } = wires;
        let ran =
            orchestrate::run(store, transport.clone(), neighbours, front, listener, shutdown).await;
        transport.close().await;
        ran
    }

    fn url(&self, role: Role) -> String {
        format!("http://{}", self.address(role))
    }

    async fn listen(&self, role: Role) -> anyhow::Result<TcpListener> {
        let deadline = tokio::time::Instant::now() + TAKE_OVER_LIMIT;
        loop {
            match listen(self.address(role), role.name()).await {
                Ok(listener) => return Ok(listener),
                Err(error) if tokio::time::Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(TAKE_OVER_PAUSE).await,
            }
        }
    }
}

/// What a role needs to talk to the others.
struct Wires {
    /// The role's own connection to the broker that all roles share.
    transport: InProcess,
    listener: TcpListener,
    least_retention: Duration,
    shutdown: CancellationToken,
}

impl Wires {
    async fn participate<G>(self, participant: Participant<Inbox>, service: G) -> anyhow::Result<()>
    where
        G: GrpcService,
        G::Future: Send + 'static,
    {
        let Self { transport, listener, least_retention, shutdown } = self;
        let wire = transport.clone();
        let ran =
            participants::run(participant, service, wire, listener, least_retention, shutdown)
                .await;
        transport.close().await;
        ran
    }
}
