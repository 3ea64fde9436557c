//! The sagas' rows in Postgres: set-wise statements, one transaction a call, and a single
//! statement where this process knows the rows because it wrote them last.

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
    /// Over a database that has the [`MIGRATIONS`].
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool, memory: Arc::default() }
    }

    /// The same, for an orchestrator: a turn over sagas that it wrote last itself, and no
    /// other orchestrator since, is one statement.
    #[must_use]
    pub fn remembering(self) -> Self {
        Self { memory: Arc::new(Memory::new()), ..self }
    }
}
