//! The roles, wired: settings in, adapters chosen, `run` until told to stop.

mod orchestrator;
mod participants;
mod provider;

use std::net::SocketAddr;

use anyhow::Context as _;
pub(crate) use orchestrator::orchestrator;
pub(crate) use participants::{inventory, order, payment};
pub(crate) use provider::provider;
use saga_postgres::{Migrations, Pool, PoolSettings};
use saga_rabbitmq::RabbitMq;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::{All, Broker, Secret};

/// The participants whose queues are declared.
pub(crate) const PARTICIPANTS: [&str; 3] = ["order", "inventory", "payment"];

/// Every role in one process, each with its own connections.
pub(crate) async fn all(settings: All, shutdown: CancellationToken) -> anyhow::Result<()> {
    crate::setup::setup(&settings.setup).await?;
    let stop = shutdown.child_token();
    let roles = [
        ("provider", tokio::spawn(provider(settings.provider, stop.clone()))),
        ("order", tokio::spawn(order(settings.order, stop.clone()))),
        ("inventory", tokio::spawn(inventory(settings.inventory, stop.clone()))),
        ("payment", tokio::spawn(payment(settings.payment, stop.clone()))),
        ("orchestrator", tokio::spawn(orchestrator(settings.orchestrator, stop.clone()))),
    ];
    let mut first = Ok(());
    for (name, role) in roles {
        let ended = role.await.context("panicked").and_then(|ended| ended);
        if let Err(error) = ended {
            // One role that cannot run stops them all: half a system serves nobody.
            stop.cancel();
            if first.is_ok() {
                first = Err(error.context(format!("role {name}")));
            }
        }
    }
    first
}

/// A role's database, whose schema must be what this binary needs.
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
        ..saga_rabbitmq::Settings::new(broker.url.0.clone(), format!("saga {role}"))
    }
}

async fn listen(address: SocketAddr, role: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("{role} cannot listen on {address}"))?;
    info!(role, address = %listener.local_addr()?, "listens");
    Ok(listener)
}
