//! Pools with settings that let peers take over from a process that hangs.

use std::{str::FromStr, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// How long a statement may run. All of ours are bounded in rows.
const STATEMENT_TIMEOUT: &str = "10s";
/// How long a lock is waited for: a peer that holds one longer is gone.
const LOCK_TIMEOUT: &str = "5s";
/// A process that is paused in mid-transaction loses its row locks after this.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "10s";
/// How long a connection is waited for before the database counts as away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a pool needs.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// Shown in `pg_stat_activity`.
    pub application: String,
    /// Most connections.
    pub max_connections: u32,
}

/// The database cannot be used as it was named.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is none. It is not shown: it may hold a password.
    #[error("the database URL is not of the form postgres://user@host:port/name")]
    Url,
    /// The database does not answer, or refuses us.
    #[error("cannot connect to database {database:?} at {host}:{port}: {source}")]
    Connect {
        /// Its name.
        database: String,
        /// Its host.
        host: String,
        /// Its port.
        port: u16,
        /// What sqlx said.
        source: sqlx::Error,
    },
}

/// Opens a pool and tries one connection.
///
/// No transaction may run in a future that can be cancelled (`select!`, a time-out,
/// a gRPC handler): a cancelled `BEGIN` can leave its connection in a transaction.
///
/// # Errors
/// [`ConnectError`], which says what to look at.
pub async fn connect(url: &str, settings: &PoolSettings) -> Result<PgPool, ConnectError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| ConnectError::Url)?
        .application_name(&settings.application)
        .options([
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("lock_timeout", LOCK_TIMEOUT),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
            ("timezone", "UTC"),
        ]);
    let (host, port) = (options.get_host().to_owned(), options.get_port());
    let database = options.get_database().unwrap_or_default().to_owned();
    PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A ping before each statement would double the round trips of a turn at
        // rest; a dead connection fails its transaction, which is tried again.
        .test_before_acquire(false)
        .connect_with(options)
        .await
        .map_err(|source| ConnectError::Connect { database, host, port, source })
}
