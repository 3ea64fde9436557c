//! The sagas' rows in Postgres: set-wise statements, one transaction a call.

mod reads;
mod retention;
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
