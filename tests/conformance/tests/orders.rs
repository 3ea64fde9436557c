//! The order service's tables: Postgres, a SQLite file, SQLite in memory.

mod inserting;
mod locking;
mod planted;
mod reading;
mod returns;

use saga_core::{Failure, SagaId};
use saga_kit::Store;
use saga_order::{
    rule::{End, Reason},
    table::{
        NewOrder, Orders, Page, Reads,
        postgres::PostgresReads,
        sqlite::{SCHEMA, SqliteReads},
    },
};
use saga_proto::{order::v1::Order, types::v1::Line};
use saga_sqlite::Database;
use tempfile::TempDir;
use uuid::Uuid;

use crate::databases::{self, Probe};

/// The order service's tables, behind their ports.
pub(crate) struct Book<S, R> {
    pub(crate) store: S,
    pub(crate) reads: R,
    pub(crate) probe: Probe,
    place: Place,
}

/// The database that holds the tables.
enum Place {
    Postgres(String),
    File(TempDir),
    Memory,
}

impl Book<saga_postgres::Inbox, PostgresReads> {
    pub(crate) async fn postgres() -> Self {
        let parts = [&saga_postgres::INBOX, &saga_order::MIGRATIONS];
        let (pool, url) = databases::postgres("orders", &parts).await;
        Self::on_postgres(pool, url)
    }

    pub(crate) fn on_postgres(pool: saga_postgres::Pool, url: String) -> Self {
        Self {
            store: saga_postgres::Inbox::new(pool.clone()),
            reads: PostgresReads::new(pool.clone()),
            probe: Probe::Postgres(pool),
            place: Place::Postgres(url),
        }
    }
}

impl Book<saga_sqlite::Inbox, SqliteReads> {
    pub(crate) async fn sqlite() -> Self {
        let (database, directory) = databases::sqlite(&SCHEMA);
        Self::on_sqlite(database, Place::File(directory))
    }

    pub(crate) async fn in_memory() -> Self {
        Self::on_sqlite(databases::in_memory(&SCHEMA), Place::Memory)
    }

    fn on_sqlite(database: Database, place: Place) -> Self {
        Self {
            store: saga_sqlite::Inbox::new(database.clone()),
            reads: SqliteReads::new(database.clone()),
            probe: Probe::Sqlite(database),
            place,
        }
    }
}

/// Tables that survive the end of their connections.
pub(crate) trait Reopen {
    async fn reopen(self) -> Self;
}

impl Reopen for Book<saga_postgres::Inbox, PostgresReads> {
    async fn reopen(self) -> Self {
        let Self { probe: Probe::Postgres(pool), place: Place::Postgres(url), .. } = self else {
            panic!("it is on Postgres")
        };
        pool.close().await;
        Self::on_postgres(databases::pool(&url).await, url)
    }
}

impl Reopen for Book<saga_sqlite::Inbox, SqliteReads> {
    async fn reopen(self) -> Self {
        let Self { store, reads, probe, place } = self;
        drop((store, reads, probe));
        let Place::File(directory) = place else { panic!("it is a file") };
        Self::on_sqlite(databases::sqlite_in(directory.path(), &SCHEMA), Place::File(directory))
    }
}

impl<S: Store<Tx: Orders>, R: Reads> Book<S, R> {
    /// Creates orders in one transaction, and returns the ids of the new ones, sorted.
    pub(crate) async fn insert(&self, orders: &[NewOrder<'_>]) -> Result<Vec<SagaId>, Failure> {
        let mut tx = self.store.begin().await?;
        let mut new: Vec<SagaId> = tx.insert(orders).await?.into_iter().collect();
        self.store.commit(tx).await?;
        new.sort();
        Ok(new)
    }

    /// Locks and ends orders in one transaction.
    pub(crate) async fn end(&self, ends: &[(SagaId, End)]) -> Result<(), Failure> {
        let ids: Vec<SagaId> = ends.iter().map(|(id, _)| *id).collect();
        let mut tx = self.store.begin().await?;
        tx.lock(&ids).await?;
        tx.end(ends).await?;
        self.store.commit(tx).await
    }

    pub(crate) async fn read(&self, id: SagaId) -> Option<Order> {
        self.reads.order(id).await.expect("the table can be read")
    }

    pub(crate) async fn page(&self, page: &Page) -> Vec<Order> {
        self.reads.page(page).await.expect("the table can be read")
    }
}

pub(crate) fn saga() -> SagaId {
    SagaId(Uuid::now_v7())
}

pub(crate) fn order<'a>(id: SagaId, customer: &'a str, lines: &'a [Line]) -> NewOrder<'a> {
    NewOrder { id, caller: "anonymous", customer, lines }
}

pub(crate) fn line(sku: &str, quantity: i64) -> Line {
    Line { sku: sku.to_owned(), quantity }
}

fn reason(code: &str, text: &str) -> Reason {
    Reason { code: code.to_owned(), text: text.to_owned() }
}

fn everything() -> Page {
    Page { limit: 500, ..Page::default() }
}
