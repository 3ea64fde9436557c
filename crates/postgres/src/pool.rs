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

/// How often a pool's use is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

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
            // Every statement of a role finds its rows by a key. Without this a plan that
            // was made while a table was small reads the whole of it for ever.
            ("enable_seqscan", "off"),
            // Plans are the same whatever the parameters are. Without this a batch of few is
            // planned anew each time, because it could be estimated more cheaply.
            ("plan_cache_mode", "force_generic_plan"),
            // Compiling pays for long reports. Nobody here asks for one.
            ("jit", "off"),
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

/// Shows how much of a pool is in use, until it is closed.
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
