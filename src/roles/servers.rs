//! Runs the roles over servers: Postgres and RabbitMQ.

use saga_engine::{Retention, SagaReads, SagaStore};
use saga_kit::Store;
use saga_messaging::{ORCHESTRATOR, Transport};
use saga_postgres::{INBOX, Inbox, Incarnation, Migrations, Pool, PoolSettings};
use saga_rabbitmq::RabbitMq;
use saga_store::postgres::SagaTable;
use tokio_util::sync::CancellationToken;

use super::{Together, listen, orchestrate, participants, provider::provider};
use crate::{
    config::{All, Broker, Orchestrator, Payment, Service},
    secrets::Secret,
};

/// Name of the exchange for the shop's events.
pub(crate) const EVENTS: &str = "shop.events";

/// The participants for which queues are declared.
pub const PARTICIPANTS: [&str; 3] = ["order", "inventory", "payment"];

/// Wraps the ports that the roles on servers use.
///
/// The product uses the adapters as they are. A test harness wraps them to observe calls, or to
/// make some of them fail.
pub trait Around: Clone + Send + Sync + 'static {
    /// The wrapped port for the sagas' rows.
    type Sagas: SagaStore + SagaReads + Retention;
    /// The wrapped port for a participant's database.
    type Inbox: Store<Tx = <Inbox as Store>::Tx>;
    /// The wrapped port for the broker.
    type Transport: Transport;

    /// Wraps the ports of an orchestrator.
    fn orchestrator(&self, sagas: SagaTable, broker: RabbitMq) -> (Self::Sagas, Self::Transport);

    /// Wraps the ports of the participant with this name.
    fn participant(
        &self,
        name: &'static str,
        inbox: Inbox,
        broker: RabbitMq,
    ) -> (Self::Inbox, Self::Transport);
}

/// Wraps nothing: the roles use the adapters themselves.
#[derive(Clone, Copy)]
pub(crate) struct Product;

impl Around for Product {
    type Sagas = SagaTable;
    type Inbox = Inbox;
    type Transport = RabbitMq;

    fn orchestrator(&self, sagas: SagaTable, broker: RabbitMq) -> (SagaTable, RabbitMq) {
        (sagas, broker)
    }

    fn participant(&self, _: &'static str, inbox: Inbox, broker: RabbitMq) -> (Inbox, RabbitMq) {
        (inbox, broker)
    }
}

/// Runs every role in one process, each with its own connections.
pub(crate) async fn all(
    settings: All,
    around: impl Around,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    crate::setup::setup(&settings.setup).await?;
    let stop = shutdown.child_token();
    let mut roles = Together::new(stop.clone());
    roles.start("provider", provider(settings.provider, stop.clone()));
    roles.start("order", order(settings.order, around.clone(), stop.clone()));
    roles.start("inventory", inventory(settings.inventory, around.clone(), stop.clone()));
    roles.start("payment", payment(settings.payment, around.clone(), stop.clone()));
    roles.start("orchestrator", orchestrator(settings.orchestrator, around.clone(), stop));
    roles.wait().await
}

/// Runs `saga orchestrator`.
pub(crate) async fn orchestrator(
    settings: Orchestrator,
    around: impl Around,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let parts = [&saga_store::postgres::MIGRATIONS];
    let (pool, incarnation) =
        database(&settings.database, "orchestrator", settings.connections, &parts).await?;
    let listener = listen(settings.front.listen, "orchestrator").await?;
    let transport = broker(&settings.broker, "orchestrator").await?;
    let neighbours = orchestrate::neighbours(
        &settings.order_url,
        &settings.inventory_url,
        &settings.payment_url,
    )?;
    let (store, wrapped) =
        around.orchestrator(SagaTable::new(pool).remembering_of(incarnation), transport.clone());
    let ran =
        orchestrate::run(store, wrapped, neighbours, settings.front, listener, shutdown).await;
    transport.close().await;
    ran
}

/// Runs `saga order`.
pub(crate) async fn order(
    settings: Service,
    around: impl Around,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let parts = [&INBOX, &saga_order::MIGRATIONS];
    let (pool, _) = database(&settings.database, "order", settings.connections, &parts).await?;
    let listener = listen(settings.listen, "order").await?;
    let transport = broker(&settings.broker, "order").await?;
    let (inbox, wrapped) = around.participant("order", Inbox::new(pool.clone()), transport.clone());
    let participant = saga_order::participant(inbox);
    let reads = saga_order::grpc::service(saga_order::table::postgres::PostgresReads::new(pool));
    let ran = participants::run(
        participant,
        reads,
        wrapped,
        listener,
        settings.least_retention,
        shutdown,
    )
    .await;
    transport.close().await;
    ran
}

/// Runs `saga inventory`.
pub(crate) async fn inventory(
    settings: Service,
    around: impl Around,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let parts = [&INBOX, &saga_inventory::MIGRATIONS];
    let (pool, _) = database(&settings.database, "inventory", settings.connections, &parts).await?;
    let listener = listen(settings.listen, "inventory").await?;
    let transport = broker(&settings.broker, "inventory").await?;
    let store = Inbox::new(pool.clone());
    let (inbox, wrapped) = around.participant("inventory", store.clone(), transport.clone());
    let participant = saga_inventory::participant(inbox);
    let catalogue = saga_inventory::table::postgres::PostgresCatalogue::new(pool);
    let catalogue = saga_inventory::grpc::service(store, catalogue);
    let ran = participants::run(
        participant,
        catalogue,
        wrapped,
        listener,
        settings.least_retention,
        shutdown,
    )
    .await;
    transport.close().await;
    ran
}

/// Runs `saga payment`.
pub(crate) async fn payment(
    settings: Payment,
    around: impl Around,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Payment { service: settings, account } = settings;
    let parts = [&INBOX, &saga_payment::MIGRATIONS];
    let (pool, _) = database(&settings.database, "payment", settings.connections, &parts).await?;
    let listener = listen(settings.listen, "payment").await?;
    let transport = broker(&settings.broker, "payment").await?;
    let provider = participants::provider(account, &shutdown)?;
    let (inbox, wrapped) = around.participant("payment", Inbox::new(pool), transport.clone());
    let participant = saga_payment::participant(inbox, provider.clone());
    let availability = saga_payment::grpc::service(provider);
    let ran = participants::run(
        participant,
        availability,
        wrapped,
        listener,
        settings.least_retention,
        shutdown,
    )
    .await;
    transport.close().await;
    ran
}

/// Connects to a role's database and checks that its schema is the one that this binary needs.
/// Returns also what the process then knows of which database it is.
async fn database(
    url: &Secret,
    role: &str,
    connections: u32,
    parts: &[&Migrations],
) -> anyhow::Result<(Pool, Incarnation)> {
    let settings =
        PoolSettings { application: format!("saga {role}"), max_connections: connections };
    let incarnation = Incarnation::of(role);
    let pool = saga_postgres::connect_noticing(&url.0, &settings, &incarnation).await?;
    saga_postgres::check(&pool, parts).await?;
    tokio::spawn(saga_postgres::watch(pool.clone(), role.to_owned()));
    tokio::spawn(incarnation.clone().follow(pool.clone()));
    Ok((pool, incarnation))
}

/// Connects a role to the broker.
async fn broker(broker: &Broker, role: &str) -> anyhow::Result<RabbitMq> {
    Ok(RabbitMq::connect(broker_settings(broker, role)).await?)
}

/// Returns the settings of a role's connections to the broker.
pub fn broker_settings(broker: &Broker, role: &str) -> saga_rabbitmq::Settings {
    saga_rabbitmq::Settings {
        prefix: broker.prefix.clone(),
        participants: PARTICIPANTS.map(str::to_owned).to_vec(),
        declares: broker.declares,
        hints: role == ORCHESTRATOR,
        users: broker.users.clone(),
        events: EVENTS.to_owned(),
        ..saga_rabbitmq::Settings::new(broker.url.0.clone(), format!("saga {role}"))
    }
}
