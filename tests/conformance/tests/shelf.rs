//! The inventory service's tables: Postgres, a SQLite file, SQLite in memory.

mod planted;
mod receipts;
mod reservations;
mod stock;

use saga_core::{Failure, SagaId};
use saga_inventory::{
    receipt::Receipt,
    rule::{self, Levels, Product},
    table::{
        Catalogue, Closing, Reservation, Shelf,
        postgres::PostgresCatalogue,
        sqlite::{SCHEMA, SqliteCatalogue},
    },
};
use saga_kit::Store;
use saga_proto::{Money, types::v1::Line};
use saga_sqlite::Database;
use tempfile::TempDir;
use uuid::Uuid;

use crate::databases::{self, Probe};

/// The inventory service's tables, behind their ports.
struct Shop<S, C> {
    store: S,
    catalogue: C,
    probe: Probe,
    _directory: Option<TempDir>,
}

impl Shop<saga_postgres::Inbox, PostgresCatalogue> {
    async fn postgres() -> Self {
        let parts = [&saga_postgres::INBOX, &saga_inventory::MIGRATIONS];
        let (pool, _) = databases::postgres("shelf", &parts).await;
        Self::over(pool)
    }

    fn over(pool: saga_postgres::Pool) -> Self {
        Self {
            store: saga_postgres::Inbox::new(pool.clone()),
            catalogue: PostgresCatalogue::new(pool.clone()),
            probe: Probe::Postgres(pool),
            _directory: None,
        }
    }
}

impl Shop<saga_sqlite::Inbox, SqliteCatalogue> {
    async fn sqlite() -> Self {
        let (database, directory) = databases::sqlite(&SCHEMA);
        Self::on_sqlite(database, Some(directory))
    }

    async fn in_memory() -> Self {
        Self::on_sqlite(databases::in_memory(&SCHEMA), None)
    }

    fn on_sqlite(database: Database, directory: Option<TempDir>) -> Self {
        Self {
            store: saga_sqlite::Inbox::new(database.clone()),
            catalogue: SqliteCatalogue::new(database.clone()),
            probe: Probe::Sqlite(database),
            _directory: directory,
        }
    }
}

impl<S: Store<Tx: Shelf>, C: Catalogue> Shop<S, C> {
    /// Receives a quantity of a product.
    async fn stock(&self, sku: &str, quantity: i64) {
        let first = receipt(&format!("first {sku}"), sku, quantity);
        receive(&self.store, &first).await.expect("the goods are received");
    }

    async fn reserve(&self, saga: SagaId, lines: &[(&str, i64)]) -> Result<(), Failure> {
        reserve(&self.store, saga, lines).await
    }

    async fn close(&self, saga: SagaId, how: Closing) -> Result<bool, Failure> {
        close(&self.store, saga, how).await
    }

    /// Returns a product's committed row.
    async fn product(&self, sku: &str) -> Product {
        let mut tx = self.store.begin().await.expect("a transaction");
        let mut stock = tx.lock(&[sku.to_owned()]).await.expect("the row");
        stock.remove(sku).expect("the product exists")
    }

    async fn levels(&self, sku: &str) -> Levels {
        self.product(sku).await.levels
    }
}

/// Takes a receipt's goods in, in one transaction.
async fn receive<S: Store<Tx: Shelf>>(store: &S, receipt: &Receipt) -> Result<(), Failure> {
    let mut tx = store.begin().await?;
    tx.claim(receipt).await?;
    let known = tx.lock(std::slice::from_ref(&receipt.sku)).await?.remove(&receipt.sku);
    let product = receipt.take_in(known).expect("it can be taken in");
    tx.receive(&product, receipt).await?;
    store.commit(tx).await
}

/// Reserves goods as the handler does. A refusal is returned as a permanent failure with its code.
async fn reserve<S: Store<Tx: Shelf>>(
    store: &S,
    saga: SagaId,
    lines: &[(&str, i64)],
) -> Result<(), Failure> {
    let mut skus: Vec<String> = lines.iter().map(|(sku, _)| (*sku).to_owned()).collect();
    skus.sort();
    let lines: Vec<Line> = lines.iter().map(|(sku, quantity)| line(sku, *quantity)).collect();
    let mut tx = store.begin().await?;
    let mut stock = tx.lock(&skus).await?;
    for line in &lines {
        let levels = &mut stock.get_mut(&line.sku).expect("the product exists").levels;
        if levels.available < line.quantity {
            return Err(Failure::Permanent("OUT_OF_STOCK".to_owned()));
        }
        levels.available -= line.quantity;
        levels.reserved += line.quantity;
    }
    let held: Vec<Reservation> =
        lines.into_iter().map(|line| Reservation { saga, line, unit_price: price() }).collect();
    tx.reserve(&stock.values().collect::<Vec<_>>(), &held).await?;
    store.commit(tx).await
}

/// Closes a saga's reservations, and returns whether there were any.
async fn close<S: Store<Tx: Shelf>>(
    store: &S,
    saga: SagaId,
    how: Closing,
) -> Result<bool, Failure> {
    let mut tx = store.begin().await?;
    let closed = tx.close(&[saga], how).await?;
    let skus: Vec<String> = closed.iter().map(|(_, line)| line.sku.clone()).collect();
    let lines: Vec<Line> = closed.iter().map(|(_, line)| line.clone()).collect();
    let mut stock = tx.lock(&skus).await?;
    match how {
        Closing::Released => rule::release(&mut stock, &lines),
        Closing::Committed => rule::commit(&mut stock, &lines),
    }
    .expect("the books balance");
    tx.settle(&stock.values().collect::<Vec<_>>(), &closed, how).await?;
    store.commit(tx).await?;
    Ok(!closed.is_empty())
}

/// Creates a receipt of goods with a name and a price.
fn receipt(key: &str, sku: &str, quantity: i64) -> Receipt {
    Receipt {
        key: key.to_owned(),
        sku: sku.to_owned(),
        quantity,
        name: Some(format!("A {sku}")),
        price: Some(price()),
    }
}

/// Returns a price with more digits than a float keeps.
fn price() -> Money {
    Money::new(9_007_199_254_740_993, "EUR")
}

fn line(sku: &str, quantity: i64) -> Line {
    Line { sku: sku.to_owned(), quantity }
}

fn saga() -> SagaId {
    SagaId(Uuid::now_v7())
}
