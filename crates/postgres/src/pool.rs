//! Connection pools, with settings that let peers take over from a process that hangs.

use std::{str::FromStr, time::Duration};

use sqlx::{
    Connection as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::Incarnation;

/// Time limit of a statement. Each of our statements limits its number of rows.
const STATEMENT_TIMEOUT: &str = "10s";
/// Time limit for waiting for a lock. A peer that holds one for longer must have failed.
const LOCK_TIMEOUT: &str = "5s";
/// Time after which a process that is paused within a transaction loses its row locks.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "10s";
/// Time limit for getting a connection. After that the database counts as unavailable.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was idle for longer is pinged before it is used. Under load, no connection is
/// idle for this long.
const IDLE: Duration = Duration::from_secs(10);
/// Time limit for the answer to a ping. If the database's host has failed, no answer ever comes.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// Interval between two measurements of a pool's use.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The settings of each connection's session.
pub const SESSION: [(&str, &str); 8] = [
    ("statement_timeout", STATEMENT_TIMEOUT),
    ("lock_timeout", LOCK_TIMEOUT),
    ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
    ("timezone", "UTC"),
    // A committed transaction survives a crash of the server, whatever the server's default.
    ("synchronous_commit", "on"),
    // Every statement of a role finds its rows by a key. Without this setting, a plan that was made
    // while a table was small would read the whole table even after it has grown.
    ("enable_seqscan", "off"),
    // Plans do not depend on the parameters. Without this setting, each small batch could be
    // planned anew, because a plan for its size may have a lower estimated cost.
    ("plan_cache_mode", "force_generic_plan"),
    // Compiling pays off only for long reports, which this system does not run.
    ("jit", "off"),
];

/// Settings of a pool.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// Name of the connections in `pg_stat_activity`.
    pub application: String,
    /// Maximum number of connections that the pool opens.
    pub max_connections: u32,
}

/// The reason why the database at a URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is malformed. The error does not contain it, because it may hold a password.
    #[error("the database URL is not of the form postgres://user@host:port/name")]
    Url,
    /// The database does not answer, or refuses the connection.
    #[error("cannot connect to database {database:?} at {host}:{port}: {source}")]
    Connect {
        /// The database's name.
        database: String,
        /// The server's host.
        host: String,
        /// The server's port.
        port: u16,
        /// The error from sqlx.
        source: sqlx::Error,
    },
}

/// Opens a pool and tests one connection.
///
/// Do not run a transaction in a future that can be cancelled (`select!`, a time-out, a gRPC
/// handler): a cancelled `BEGIN` can leave its connection in a transaction.
///
/// # Errors
/// [`ConnectError`], which says what to check.
pub async fn connect(url: &str, settings: &PoolSettings) -> Result<PgPool, ConnectError> {
    connect_to(url, settings, None).await
}

/// Like [`connect`], but each new connection is compared with what is known of the database.
///
/// # Errors
/// [`ConnectError`], which says what to check.
pub async fn connect_noticing(
    url: &str,
    settings: &PoolSettings,
    incarnation: &Incarnation,
) -> Result<PgPool, ConnectError> {
    connect_to(url, settings, Some(incarnation.clone())).await
}

async fn connect_to(
    url: &str,
    settings: &PoolSettings,
    incarnation: Option<Incarnation>,
) -> Result<PgPool, ConnectError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| ConnectError::Url)?
        .application_name(&settings.application)
        .options(SESSION);
    let (host, port) = (options.get_host().to_owned(), options.get_port());
    let database = options.get_database().unwrap_or_default().to_owned();
    PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A ping before each use would double the round trips of a turn under low load. Without it,
        // a dead connection fails its transaction, which is tried again.
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            let incarnation = incarnation.clone();
            Box::pin(async move {
                if let Some(incarnation) = incarnation {
                    incarnation.look(connection).await;
                }
                Ok(())
            })
        })
        .before_acquire(|connection, meta| {
            Box::pin(async move {
                if meta.idle_for < IDLE {
                    return Ok(true);
                }
                let ping = tokio::time::timeout(PING_TIMEOUT, connection.ping()).await;
                ping.unwrap_or(Err(sqlx::Error::PoolTimedOut)).map(|()| true)
            })
        })
        .connect_with(options)
        .await
        .map_err(|source| ConnectError::Connect { database, host, port, source })
}

/// Reports the use of a pool as metrics, until the pool is closed.
pub async fn watch(pool: PgPool, role: String) {
    let gauge = |state: &'static str| metrics::gauge!("saga_database_connections", "role" => role.clone(), "state" => state);
    let most = pool.options().get_max_connections();
    metrics::gauge!("saga_database_connections_max", "role" => role.clone()).set(f64::from(most));
    while !pool.is_closed() {
        let (all, idle) = (pool.size() as usize, pool.num_idle());
        gauge("idle").set(idle as f64);
        gauge("busy").set(all.saturating_sub(idle) as f64);
        tokio::time::sleep(WATCH_INTERVAL).await;
    }
}
