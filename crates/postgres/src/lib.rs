//! Postgres: pools with safe settings, conversion of errors, migrations, and the participants'
//! [`Inbox`].
//!
//! The sagas' own store is in `orchestrator/store`, so that a service that uses this crate need not
//! build the engine.
//!
//! Read first: [`failure`] and [`Inbox`].

mod failure;
mod inbox;
mod incarnation;
mod migrate;
mod pool;
mod provision;

pub use failure::{commit, failure};
pub use inbox::{INBOX, Inbox};
pub use incarnation::Incarnation;
pub use migrate::{Kind, MigrateError, Pending, check, migrate, pending};
pub use pool::{ConnectError, PoolSettings, SESSION, connect, connect_noticing, watch};
pub use provision::{ProvisionError, Reader, provision, provision_reader};

/// A pool of connections to one database.
pub type Pool = sqlx::PgPool;
/// The migrations of one crate.
pub type Migrations = sqlx::migrate::Migrator;
