//! The roles over servers: Postgres and RabbitMQ.

use saga_postgres::{INBOX, Inbox, Migrations, Pool, PoolSettings};
use saga_rabbitmq::RabbitMq;
use saga_store::postgres::SagaTable;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{Together, listen, orchestrate, participants, provider::provider};
use crate::{
    config::{All, Broker, Orchestrator, Payment, Service},
    crash::{Crash, CrashingInbox, CrashingSagas, CrashingTransport},
    secrets::Secret,
};

/// Exchange of the shop's events.
const EVENTS: &str = "shop.events";

/// The participants whose queues are declared.
pub(crate) const PARTICIPANTS: [&str; 3] = ["order", "inventory", "payment"];

/// Every role in one process, each with its own connections.
pub(crate) async fn all(settings: All, shutdown: CancellationToken) -> anyhow::Result<()> {
    crate::setup::setup(&settings.setup).await?;
    let stop = shutdown.child_token();
    let mut roles = Together::new(stop.clone());
    roles.start("provider", provider(settings.provider, stop.clone()));
    roles.start("order", order(settings.order, stop.clone()));
    roles.start("inventory", inventory(settings.inventory, stop.clone()));
    roles.start("payment", payment(settings.payment, stop.clone()));
    roles.start("orchestrator", orchestrator(settings.orchestrator, stop));
    roles.wait().await
}

/// `saga orchestrator`
pub(crate) async fn orchestrator(
    settings: Orchestrator,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let parts = [&saga_store::postgres::MIGRATIONS];
    let pool = database(&settings.database, "orchestrator", settings.connections, &parts).await?;
    let listener = listen(settings.front.listen, "orchestrator").await?;
    let transport = broker(&settings.broker, "orchestrator").await?;
    let neighbours = orchestrate::neighbours(
        &settings.order_url,
        &settings.inventory_url,
        &settings.payment_url,
    )?;
    let crash = announced(settings.crash, "orchestrator");
    let store = CrashingSagas::new(SagaTable::new(pool).remembering(), crash.clone());
    let watched = CrashingTransport::new(transport.clone(), crash);
    let ran =
        orchestrate::run(store, watched, neighbours, settings.front, listener, shutdown).await;
    transport.close().await;
    ran
}

/// `saga order`
pub(crate) async fn order(settings: Service, shutdown: CancellationToken) -> anyhow::Result<()> {
    let parts = [&INBOX, &saga_order::MIGRATIONS];
    let pool = database(&settings.database, "order", settings.connections, &parts).await?;
    let listener = listen(settings.listen, "order").await?;
    let transport = broker(&settings.broker, "order").await?;
    let crash = announced(settings.crash, "order");
    let store = CrashingInbox::new(Inbox::new(pool.clone()), crash.clone());
    let participant = saga_order::participant(store);
    let watched = CrashingTransport::new(transport.clone(), crash);
    let reads = saga_order::grpc::service(saga_order::table::postgres::PostgresReads::new(pool));
    let ran = participants::run(participant, reads, watched, listener, shutdown).await;
    transport.close().await;
    ran
}

/// `saga inventory`
pub(crate) async fn inventory(
    settings: Service,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let parts = [&INBOX, &saga_inventory::MIGRATIONS];
    let pool = database(&settings.database, "inventory", settings.connections, &parts).await?;
    let listener = listen(settings.listen, "inventory").await?;
    let transport = broker(&settings.broker, "inventory").await?;
    let store = Inbox::new(pool.clone());
    let crash = announced(settings.crash, "inventory");
    let participant = saga_inventory::participant(CrashingInbox::new(store.clone(), crash.clone()));
    let watched = CrashingTransport::new(transport.clone(), crash);
    let catalogue = saga_inventory::table::postgres::PostgresCatalogue::new(pool);
    let catalogue = saga_inventory::grpc::service(store, catalogue);
    let ran = participants::run(participant, catalogue, watched, listener, shutdown).await;
    transport.close().await;
    ran
}

/// `saga payment`
pub(crate) async fn payment(settings: Payment, shutdown: CancellationToken) -> anyhow::Result<()> {
    let Payment { service: settings, account } = settings;
    let parts = [&INBOX, &saga_payment::MIGRATIONS];
    let pool = database(&settings.database, "payment", settings.connections, &parts).await?;
    let listener = listen(settings.listen, "payment").await?;
    let transport = broker(&settings.broker, "payment").await?;
    let provider = participants::provider(account, &shutdown)?;
    let crash = announced(settings.crash, "payment");
    let store = CrashingInbox::new(Inbox::new(pool), crash.clone());
    let participant = saga_payment::participant(store, provider.clone());
    let watched = CrashingTransport::new(transport.clone(), crash);
    let availability = saga_payment::grpc::service(provider);
    let ran = participants::run(participant, availability, watched, listener, shutdown).await;
    transport.close().await;
    ran
}

/// Warns about a chosen crash point, so that nobody wonders why a process ends.
fn announced(crash: Option<Crash>, role: &str) -> Option<Crash> {
    if let Some(crash) = &crash {
        warn!(role, %crash, "a test facility: this process will kill itself");
    }
    crash
}

/// A role's database. Its schema must be the one that this binary needs.
async fn database(
    url: &Secret,
    role: &str,
    connections: u32,
    parts: &[&Migrations],
) -> anyhow::Result<Pool> {
    let settings =
        PoolSettings { application: format!("saga {role}"), max_connections: connections };
    let pool = saga_postgres::connect(&url.0, &settings).await?;
    saga_postgres::check(&pool, parts).await?;
    tokio::spawn(saga_postgres::watch(pool.clone(), role.to_owned()));
    Ok(pool)
}

/// A role's connections to the broker.
async fn broker(broker: &Broker, role: &str) -> anyhow::Result<RabbitMq> {
    Ok(RabbitMq::connect(broker_settings(broker, role)).await?)
}

pub(crate) fn broker_settings(broker: &Broker, role: &str) -> saga_rabbitmq::Settings {
    saga_rabbitmq::Settings {
        prefix: broker.prefix.clone(),
        participants: PARTICIPANTS.map(str::to_owned).to_vec(),
        declares: broker.declares,
        events: EVENTS.to_owned(),
        ..saga_rabbitmq::Settings::new(broker.url.0.clone(), format!("saga {role}"))
    }
}
