//! The sagas' rows in SQLite. Each call is one transaction, with one prepared statement for each
//! row.
//!
//! A transaction has its database to itself, so no rows have to be locked or skipped. Versions are
//! checked all the same, because a decision may be based on an older read.

mod quarantine;
mod reads;
mod retention;
mod row;
mod write;

use saga_sqlite::{Database, Schema};

/// The schema of the orchestrator's database.
pub const SCHEMA: Schema = Schema {
    application_id: 0x5341_474F,
    scripts: &[
        include_str!("../schema/sagas_1.sql"),
        include_str!("../schema/sagas_2_retention.sql"),
        include_str!("../schema/sagas_3_quarantine.sql"),
        include_str!("../schema/sagas_4_undone.sql"),
    ],
};

/// The sagas' rows in SQLite.
#[derive(Clone, Debug)]
pub struct SagaTable {
    database: Database,
}

impl SagaTable {
    /// Makes the store over a database that was opened with [`SCHEMA`].
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }
}
