//! Postgres: pools with safe settings, its errors by what a caller can do, migrations, and the
//! participants' [`Inbox`].
//!
//! The sagas' own store is in `orchestrator/store`, so a service that uses this crate does not build
//! the engine.
//!
//! Read first: [`failure`] and [`Inbox`].

mod failure;
mod inbox;
mod migrate;
mod pool;
mod provision;

pub use failure::{commit, failure};
pub use inbox::{INBOX, Inbox};
pub use migrate::{MigrateError, check, migrate};
pub use pool::{ConnectError, PoolSettings, connect, watch};
pub use provision::{ProvisionError, Reader, provision, provision_reader};

/// A pool of connections to one database.
pub type Pool = sqlx::PgPool;
/// A crate's migrations.
pub type Migrations = sqlx::migrate::Migrator;
