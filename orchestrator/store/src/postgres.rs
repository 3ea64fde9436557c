//! The sagas' rows in Postgres. Each call is one transaction, whose statements work on sets of
//! rows. A turn over rows that this process wrote last, and so remembers, is a single statement.

mod admit;
mod floor;
mod quarantine;
mod reads;
mod retention;
mod row;
mod update;
mod write;

use std::sync::Arc;

use floor::Floor;
use saga_postgres::Incarnation;
use sqlx::{PgPool, migrate::Migrator};

use crate::memory::Memory;

/// The migrations of the orchestrator's database.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The sagas' rows in Postgres.
#[derive(Clone, Debug)]
pub struct SagaTable {
    pool: PgPool,
    memory: Arc<Memory>,
    floor: Arc<Floor>,
}

impl SagaTable {
    /// Makes the store over a database that has the [`MIGRATIONS`].
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool, memory: Arc::default(), floor: Arc::default() }
    }

    /// Gives the store a memory, for use in an orchestrator: a turn over sagas that this
    /// orchestrator wrote last is then one statement.
    #[must_use]
    pub fn remembering(self) -> Self {
        self.remembering_of(Incarnation::default())
    }

    /// Like [`SagaTable::remembering`], but everything is forgotten once the database is found to
    /// be another one.
    #[must_use]
    pub fn remembering_of(self, incarnation: Incarnation) -> Self {
        Self { memory: Arc::new(Memory::of(incarnation)), ..self }
    }
}
