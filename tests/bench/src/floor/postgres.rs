//! The floor on Postgres.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use saga::config::Setup;
use saga_postgres::{INBOX, Inbox, Migrations, Pool, PoolSettings};
use saga_store::postgres::SagaTable;
use sqlx::AssertSqlSafe;

use super::{
    Floor, Rounds,
    shop::{Shop, timed},
};
use crate::{demand::Demand, path::Timing, system::database_of};

/// The number of commits that are timed, one at a time.
const COMMITS: usize = 200;
/// Connections that write to one database.
const CONNECTIONS: u32 = 2;
/// The server adds a connection's rows to its statistics when the connection ends, a little late.
const COUNTED_AFTER: Duration = Duration::from_secs(1);

/// Measures the floor on the server of these databases, in fresh databases.
pub(crate) async fn measure(
    settings: &Setup,
    rounds: Rounds,
    demand: Arc<Demand>,
) -> anyhow::Result<Floor> {
    let admin = settings.admin.as_ref().context("SAGA_ADMIN_DATABASE_URL is not set")?;
    let admin = connect(&admin.0, 1).await?;
    let databases = Database::all(settings)?;
    let measured = measure_in(&databases, settings, &admin, rounds, demand).await;
    for database in &databases {
        database.drop(&admin).await?;
    }
    admin.close().await;
    measured
}

async fn measure_in(
    databases: &[Database; 4],
    settings: &Setup,
    admin: &Pool,
    rounds: Rounds,
    demand: Arc<Demand>,
) -> anyhow::Result<Floor> {
    let admin_url = settings.admin.as_ref().map(|url| url.0.as_str()).unwrap_or_default();
    for database in databases {
        database.drop(admin).await?;
        database.make(admin_url).await?;
    }
    let commit = commit(&databases[0]).await?;
    let opened = Opened::open(databases, Arc::clone(&demand)).await?;
    opened.shop.receive().await?;
    opened.close().await;
    let before = rows(databases, admin).await?;
    let opened = Opened::open(databases, demand).await?;
    let sagas_a_second = opened.shop.measure(rounds).await?;
    let shop = opened.close().await;
    let rows = rows(databases, admin).await? - before;
    Ok(shop.floor(sagas_a_second, u64::try_from(rows)?, commit))
}

/// A shop over open connection pools.
struct Opened {
    shop: Arc<Shop<SagaTable, Inbox>>,
    pools: Vec<Pool>,
}

impl Opened {
    async fn open(databases: &[Database; 4], demand: Arc<Demand>) -> anyhow::Result<Self> {
        let mut pools = Vec::new();
        for database in databases {
            pools.push(connect(&database.url, database.connections).await?);
        }
        let services = [1, 2, 3].map(|at: usize| Inbox::new(pools[at].clone()));
        let shop = Shop::new(SagaTable::new(pools[0].clone()).remembering(), services, demand)?;
        Ok(Self { shop: Arc::new(shop), pools })
    }

    async fn close(self) -> Arc<Shop<SagaTable, Inbox>> {
        for pool in &self.pools {
            pool.close().await;
        }
        self.shop
    }
}

/// A fresh database on the same server as one of the system's databases.
struct Database {
    url: String,
    name: String,
    migrations: Vec<&'static Migrations>,
    connections: u32,
}

impl Database {
    /// Describes the orchestrator's database, and then each service's.
    fn all(settings: &Setup) -> anyhow::Result<[Self; 4]> {
        let like = |url: &str, migrations, connections| {
            let mut at: reqwest::Url = url.parse().context("a database's URL")?;
            let name = format!("{}_floor", database_of(url));
            at.set_path(&name);
            anyhow::Ok(Self { url: at.into(), name, migrations, connections })
        };
        let Setup { orchestrator, order, inventory, payment, .. } = settings;
        Ok([
            like(&orchestrator.0, vec![&saga_store::postgres::MIGRATIONS], CONNECTIONS)?,
            like(&order.0, vec![&INBOX, &saga_order::MIGRATIONS], CONNECTIONS)?,
            // Two connections would wait for each other at the hot products.
            like(&inventory.0, vec![&INBOX, &saga_inventory::MIGRATIONS], 1)?,
            like(&payment.0, vec![&INBOX, &saga_payment::MIGRATIONS], CONNECTIONS)?,
        ])
    }

    async fn make(&self, admin: &str) -> anyhow::Result<()> {
        saga_postgres::provision(admin, &self.url).await?;
        let pool = connect(&self.url, 1).await?;
        saga_postgres::migrate(&pool, &self.migrations).await?;
        pool.close().await;
        Ok(())
    }

    async fn drop(&self, admin: &Pool) -> anyhow::Result<()> {
        let drop: String = sqlx::query_scalar("SELECT format('DROP DATABASE IF EXISTS %I', $1)")
            .bind(&self.name)
            .fetch_one(admin)
            .await?;
        sqlx::query(AssertSqlSafe(drop)).execute(admin).await?;
        Ok(())
    }
}

async fn connect(url: &str, max_connections: u32) -> anyhow::Result<Pool> {
    let settings = PoolSettings { application: "saga-bench".to_owned(), max_connections };
    Ok(saga_postgres::connect(url, &settings).await?)
}

/// Counts the rows that were ever written in these databases. No connection may be open.
async fn rows(databases: &[Database; 4], admin: &Pool) -> anyhow::Result<i64> {
    tokio::time::sleep(COUNTED_AFTER).await;
    let names = databases.each_ref().map(|database| database.name.as_str());
    let rows = sqlx::query_scalar(
        "SELECT coalesce(sum(tup_inserted + tup_updated), 0)::bigint FROM pg_stat_database
         WHERE datname = ANY($1)",
    );
    Ok(rows.bind(&names[..]).fetch_one(admin).await?)
}

/// Times commits of one row. Each is one statement and one round trip, with a durable write.
async fn commit(database: &Database) -> anyhow::Result<Timing> {
    let pool = connect(&database.url, 1).await?;
    sqlx::query("CREATE TABLE one_commit (number bigint)").execute(&pool).await?;
    let timing = timed(COMMITS, async |number| {
        let insert = sqlx::query("INSERT INTO one_commit VALUES ($1)").bind(number);
        insert.execute(&pool).await?;
        Ok(())
    })
    .await;
    pool.close().await;
    timing
}
