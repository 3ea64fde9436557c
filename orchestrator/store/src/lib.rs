//! The sagas' store over Postgres: the engine's ports [`saga_engine::SagaStore`]
//! and [`saga_engine::SagaReads`].
//!
//! Read first: [`SagaTable`], then `row.rs` for what a row holds.

mod reads;
mod row;
mod write;

use sqlx::{PgPool, migrate::Migrator};

/// The migrations of the orchestrator's database.
pub static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The sagas' rows in Postgres.
#[derive(Clone, Debug)]
pub struct SagaTable {
    pool: PgPool,
}

impl SagaTable {
    /// Over a database that has the [`MIGRATIONS`].
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}
