//! Pools with settings that let peers take over from a process that hangs.

use std::{str::FromStr, time::Duration};

use sqlx::{
    Connection as _, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

/// Time limit of a statement. All of our statements are bounded in rows.
const STATEMENT_TIMEOUT: &str = "10s";
/// Time limit for waiting for a lock: a peer that holds one longer is gone.
const LOCK_TIMEOUT: &str = "5s";
/// A process that is paused in the middle of a transaction loses its row locks after this time.
const IDLE_IN_TRANSACTION_TIMEOUT: &str = "10s";
/// Time limit for getting a connection. After that the database counts as away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was idle for longer is asked whether it is there before it is used. While there is
/// much to do, none is idle for that long.
const IDLE: Duration = Duration::from_secs(10);
/// Time limit for the answer to that. The host of the database may be gone without a word.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// Interval at which a pool's use is measured.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Settings of a pool.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// Name that `pg_stat_activity` shows.
    pub application: String,
    /// Most connections.
    pub max_connections: u32,
}

/// The database cannot be used under the URL that was given.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is malformed. It is not shown: it may hold a password.
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
        /// The error from sqlx.
        source: sqlx::Error,
    },
}

/// Opens a pool and tries one connection.
///
/// No transaction may run in a future that can be cancelled (`select!`, a time-out, a gRPC
/// handler): a cancelled `BEGIN` can leave its connection in a transaction.
///
/// # Errors
/// [`ConnectError`], which says what to check.
pub async fn connect(url: &str, settings: &PoolSettings) -> Result<PgPool, ConnectError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|_| ConnectError::Url)?
        .application_name(&settings.application)
        .options([
            ("statement_timeout", STATEMENT_TIMEOUT),
            ("lock_timeout", LOCK_TIMEOUT),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT),
            ("timezone", "UTC"),
            // What was committed is not lost with the server, whatever its own default.
            ("synchronous_commit", "on"),
            // Every statement of a role finds its rows by a key. Without this setting, a plan that
            // was made while a table was small would read the whole table for ever.
            ("enable_seqscan", "off"),
            // Plans do not depend on the parameters. Without this setting, each small batch would
            // be planned anew, because a plan made for it could be estimated as cheaper.
            ("plan_cache_mode", "force_generic_plan"),
            // Compilation pays off for long reports. No query here is one.
            ("jit", "off"),
        ]);
    let (host, port) = (options.get_host().to_owned(), options.get_port());
    let database = options.get_database().unwrap_or_default().to_owned();
    PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A ping before each statement would double the round trips of a turn under low load. A
        // dead connection fails its transaction, which is tried again.
        .test_before_acquire(false)
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

/// Reports how much of a pool is in use, until the pool is closed.
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
