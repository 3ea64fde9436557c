//! The sagas' rows in Postgres: set-wise statements, one transaction for each call. If this process
//! wrote the rows last and so knows them, a call is a single statement.

mod admit;
mod memory;
mod quarantine;
mod reads;
mod retention;
mod row;
mod update;
mod write;

use std::sync::Arc;

use memory::Memory;
use sqlx::{PgPool, migrate::Migrator};

/// The migrations of the orchestrator's database.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The sagas' rows in Postgres.
#[derive(Clone, Debug)]
pub struct SagaTable {
    pool: PgPool,
    memory: Arc<Memory>,
}

impl SagaTable {
    /// The store over a database that has the [`MIGRATIONS`].
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool, memory: Arc::default() }
    }

    /// The same store for an orchestrator, with a memory: a turn over sagas that this orchestrator
    /// wrote last is one statement.
    #[must_use]
    pub fn remembering(self) -> Self {
        Self { memory: Arc::new(Memory::new()), ..self }
    }
}
