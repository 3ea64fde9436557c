//! The floor on SQLite, used as in the embedded system: WAL, synchronous=FULL, one writer for each
//! database.

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use saga_sqlite::{Clock, Database, Inbox, Schema};
use saga_store::sqlite::SagaTable;

use super::{
    Floor, Rounds,
    shop::{Shop, timed},
};
use crate::demand::Demand;

/// The number of commits that are timed, one at a time.
const COMMITS: usize = 100;
/// The orchestrator's schema, and then each service's.
const SCHEMAS: [&Schema; 4] = [
    &saga_store::sqlite::SCHEMA,
    &saga_order::table::sqlite::SCHEMA,
    &saga_inventory::table::sqlite::SCHEMA,
    &saga_payment::table::sqlite::SCHEMA,
];

/// Measures the floor in files beside a data directory. The system there must have been stopped.
pub(crate) async fn measure(
    data_dir: &Path,
    rounds: Rounds,
    demand: Arc<Demand>,
) -> anyhow::Result<Floor> {
    let dir = tempfile::tempdir_in(data_dir.parent().context("a directory above the data")?)?;
    let databases = open(dir.path())?;
    let shop = Arc::new(shop(&databases, demand)?);
    shop.receive().await?;
    let before = rows(&databases).await?;
    let sagas_a_second = shop.measure(rounds).await?;
    let rows = rows(&databases).await? - before;
    Ok(shop.floor(sagas_a_second, rows, commit(&databases[0]).await?))
}

fn open(dir: &Path) -> anyhow::Result<Vec<Database>> {
    let file = |(number, schema): (usize, &&Schema)| {
        Ok(Database::open(&dir.join(number.to_string()), schema, Clock::system())?)
    };
    SCHEMAS.iter().enumerate().map(file).collect()
}

fn shop(databases: &[Database], demand: Arc<Demand>) -> anyhow::Result<Shop<SagaTable, Inbox>> {
    let services = [1, 2, 3].map(|at: usize| Inbox::new(databases[at].clone()));
    Shop::new(SagaTable::new(databases[0].clone()), services, demand)
}

/// Counts the rows that were ever written.
async fn rows(databases: &[Database]) -> anyhow::Result<u64> {
    let mut rows = 0;
    for database in databases {
        rows += database.begin().await?.total_changes();
    }
    Ok(rows)
}

/// Times commits of one row. The database must have been written to, like a system's: its log is
/// then overwritten instead of growing, and growing makes the commits of a new database slow.
async fn commit(database: &Database) -> anyhow::Result<crate::path::Timing> {
    let tx = database.begin().await?;
    tx.execute_batch("CREATE TABLE one_commit (number INTEGER) STRICT")?;
    tx.commit()?;
    timed(COMMITS, async |number| {
        let tx = database.begin().await?;
        tx.statement("INSERT INTO one_commit VALUES (?1)")?.execute([number])?;
        Ok(tx.commit()?)
    })
    .await
}

#[cfg(test)]
mod tests {
    use saga_engine::SagaReads as _;
    use saga_inventory::{
        rule::Levels,
        table::{Catalogue as _, sqlite::SqliteCatalogue},
    };
    use uuid::Uuid;

    use super::*;
    use crate::floor::BATCH;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_order_of_a_batch_ends_as_its_card_asks_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let databases = open(dir.path()).expect("fresh files");
        let shop = shop(&databases, Arc::new(Demand::new(Uuid::nil(), 10, 50))).expect("a shop");
        shop.receive().await.expect("goods");
        let before = rows(&databases).await.expect("a count");
        shop.batch().await.expect("a batch");
        let rows = rows(&databases).await.expect("a count") - before;
        assert_eq!(SagaTable::new(databases[0].clone()).in_flight().await.expect("a count"), 0);
        let catalogue = SqliteCatalogue::new(databases[2].clone());
        let products = catalogue.page("", 100).await.expect("a page");
        let sum =
            |level: fn(&Levels) -> i64| products.iter().map(|p| level(&p.levels)).sum::<i64>();
        assert_eq!(
            (sum(|levels| levels.sold), sum(|levels| levels.reserved)),
            (BATCH as i64 / 2, 0)
        );
        let floor = shop.floor(1.0, rows, Default::default());
        // Six transactions of the orchestrator, and seven of the participants: create, reserve,
        // authorise, capture, release, commit, and confirm with reject.
        assert_eq!(floor.commits_a_batch, 13);
        assert_eq!(floor.local_transactions_a_saga, 5.5);
        assert!((25.0..45.0).contains(&floor.rows_a_saga), "{floor:?}");
    }
}
