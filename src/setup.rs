//! `saga setup`: creates or updates databases, roles, schemas, exchanges and queues. Idempotent.

use saga_postgres::{INBOX, Migrations, PoolSettings, Reader};
use saga_rabbitmq::RabbitMq;
use tracing::info;

use crate::{config::Setup, roles::broker_settings};

/// The database role for audits, which may read everything and change nothing.
const AUDITOR: &str = "saga_audit";

/// Creates everything that the roles need, or brings it up to date.
pub async fn setup(settings: &Setup) -> anyhow::Result<()> {
    let databases: [(&str, &str, &[&Migrations]); 4] = [
        ("orchestrator", &settings.orchestrator.0, &[&saga_store::postgres::MIGRATIONS]),
        ("order", &settings.order.0, &[&INBOX, &saga_order::MIGRATIONS]),
        ("inventory", &settings.inventory.0, &[&INBOX, &saga_inventory::MIGRATIONS]),
        ("payment", &settings.payment.0, &[&INBOX, &saga_payment::MIGRATIONS]),
    ];
    for (role, url, parts) in databases {
        if let Some(admin) = &settings.admin {
            saga_postgres::provision(&admin.0, url).await?;
            info!(role, "database and role are there");
        }
        let pool = PoolSettings { application: format!("saga setup {role}"), max_connections: 1 };
        let pool = saga_postgres::connect(url, &pool).await?;
        saga_postgres::migrate(&pool, parts).await?;
        pool.close().await;
        info!(role, "schema is up to date");
        if let (Some(admin), Some(password)) = (&settings.admin, &settings.auditor) {
            let reader = Reader { role: AUDITOR, password: &password.0 };
            saga_postgres::provision_reader(&admin.0, url, &reader).await?;
            info!(role, "the auditor may read");
        }
    }
    RabbitMq::setup(broker_settings(&settings.broker, "setup")).await?;
    info!("exchanges and queues are there");
    Ok(())
}
