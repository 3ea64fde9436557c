//! `saga setup`: creates or updates databases, roles, schemas, exchanges and queues. Idempotent.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use saga_cli::USAGE;
use saga_postgres::{INBOX, MigrateError, Migrations, Pending, Pool, PoolSettings, Reader};
use saga_rabbitmq::RabbitMq;
use tracing::info;

use crate::{
    config::{self, Setup},
    roles::broker_settings,
};

/// The database role for audits, which may read everything and change nothing.
const AUDITOR: &str = "saga_audit";

/// Make databases, roles, schemas, exchanges and queues; run it again whenever you like
///
/// Run the new version's `saga setup` while the roles of the old version work. A migration waits
/// for a lock for 2 s at most and is tried again, so that nobody has to wait behind it. After a
/// migration that expands the schema, older binaries go on, and may be started again.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  saga setup --plan
  saga setup
  saga setup --definitions > definitions.json

docs/upgrading.md says in which order to upgrade, and how to go back.")]
pub struct Command {
    /// Print the migrations that each database lacks, and change nothing
    #[arg(long)]
    pub plan: bool,
    /// Print the permissions and bounds of the broker's users, for RabbitMQ to import, and make
    /// nothing
    #[arg(long, conflicts_with = "plan")]
    pub definitions: bool,
}

type Parts = &'static [&'static Migrations];

fn databases(settings: &Setup) -> [(&'static str, &str, Parts); 4] {
    static SAGAS: Parts = &[&saga_store::postgres::MIGRATIONS];
    static ORDERS: Parts = &[&INBOX, &saga_order::MIGRATIONS];
    static STOCK: Parts = &[&INBOX, &saga_inventory::MIGRATIONS];
    static PAYMENTS: Parts = &[&INBOX, &saga_payment::MIGRATIONS];
    [
        ("orchestrator", &settings.orchestrator.0, SAGAS),
        ("order", &settings.order.0, ORDERS),
        ("inventory", &settings.inventory.0, STOCK),
        ("payment", &settings.payment.0, PAYMENTS),
    ]
}

/// Creates everything that the roles need, or brings it up to date.
pub async fn setup(settings: &Setup) -> anyhow::Result<()> {
    for (role, url, parts) in databases(settings) {
        if let Some(admin) = &settings.admin {
            saga_postgres::provision(&admin.0, url).await?;
            info!(role, "database and role are there");
        }
        let pool = connect(role, url).await?;
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

async fn connect(role: &str, url: &str) -> anyhow::Result<Pool> {
    let pool = PoolSettings { application: format!("saga setup {role}"), max_connections: 1 };
    Ok(saga_postgres::connect(url, &pool).await?)
}

/// Prints what [`setup`] would do to the schemas.
pub async fn plan() -> ExitCode {
    let settings = match config::read(&config::process, |env| env.setup()) {
        Ok(settings) => settings,
        Err(mistakes) => {
            let _ = write!(io::stderr().lock(), "saga: {mistakes}");
            return ExitCode::from(USAGE);
        }
    };
    let mut text = String::new();
    for (role, url, parts) in databases(&settings) {
        let pending = match connect(role, url).await {
            Ok(pool) => saga_postgres::pending(&pool, parts).await,
            // The database does not exist yet, or does not answer.
            Err(error) => {
                let _ = writeln!(text, "{role}: {error:#}");
                continue;
            }
        };
        describe(&mut text, role, pending);
    }
    let _ = io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn describe(text: &mut String, role: &str, pending: Result<Vec<Pending>, MigrateError>) {
    let pending = match pending {
        Ok(pending) => pending,
        Err(error) => {
            let _ = writeln!(text, "{role}: {error}");
            return;
        }
    };
    if pending.is_empty() {
        let _ = writeln!(text, "{role}: up to date");
    }
    for Pending { version, description, kind, long } in pending {
        let long = if long { ", takes its time on a large table" } else { "" };
        let _ = writeln!(text, "{role}: {version:04} {description} ({kind}{long})");
    }
}
