//! Migrations of a database's schema.
//!
//! Binaries of two releases run side by side during an upgrade, and the older one must be able to
//! start again for a roll-back. So a migration is of one [`Kind`], which the last word of its file's
//! name says: `0105_orders_by_caller_expand.sql`. After an expanding migration older binaries go
//! on. A contracting one names the migrations that a binary must know from then on, as rows of the
//! table `schema_needs`.

use std::{fmt, time::Duration};

use sqlx::{
    Connection as _, Executor as _, PgConnection, PgPool,
    migrate::{MigrateError as Sqlx, Migration, Migrator},
};
use tracing::{info, warn};

/// Time limit for waiting for a lock. Whoever needs a table waits behind a migration that waits for
/// its lock, so it does not wait for long, and tries again.
const LOCK_TIMEOUT: &str = "2s";
/// The number of tries while others hold the locks that a migration needs.
const TRIES: u32 = 100;
/// Time between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// The advisory lock of whoever migrates the database.
const LOCK: i64 = 0x5a6a_5e70;

/// The reason why a database cannot be migrated or used with this binary.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The schema serves only binaries that know a migration which this one does not.
    #[error(
        "the database's schema is newer than this binary: whoever uses it must know migration {0}, which this binary does not; run a newer binary"
    )]
    Newer(i64),
    /// `saga setup` has not been run since this binary was installed.
    #[error("the database's schema is older than this binary: run `saga setup`")]
    Older,
    /// A lock was held by others at every try.
    #[error("the database cannot be migrated while others hold its locks: {0}")]
    Locked(Sqlx),
    /// A migration failed, or was changed after it had been applied.
    #[error("cannot migrate the database: {0}")]
    Failed(#[from] Sqlx),
}

impl From<sqlx::Error> for MigrateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(Sqlx::Execute(error))
    }
}

/// What a migration means for the binaries that do not know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It adds to the schema. Older binaries go on, and may be started again.
    Expand,
    /// It writes rows for what was added before. Older binaries go on.
    Backfill,
    /// It takes away what only older binaries use. They cannot be started again.
    Contract,
}

impl Kind {
    /// Returns the kind that the last word of a migration's description names; without one,
    /// [`Kind::Expand`].
    #[must_use]
    pub fn of(description: &str) -> Self {
        match description.rsplit([' ', '_']).next() {
            Some("contract") => Self::Contract,
            Some("backfill") => Self::Backfill,
            _ => Self::Expand,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expand => "expands, older binaries go on",
            Self::Backfill => "fills rows in, older binaries go on",
            Self::Contract => "contracts, older binaries cannot be started again",
        })
    }
}

/// A migration that a database lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The migration's number.
    pub version: i64,
    /// The words of its file's name.
    pub description: String,
    /// What it means for binaries that do not know it.
    pub kind: Kind,
    /// True if it runs outside a transaction, because it reads or writes a whole table while others
    /// use it.
    pub long: bool,
}

/// Brings a database's schema up to date. Runs the migrations of several crates as one list, on a
/// connection of its own without a time limit for statements. Waits for a process that migrates the
/// same database. Safe to repeat.
///
/// # Errors
/// [`MigrateError`]. A migration is a transaction, unless its file begins with `-- no-transaction`:
/// such a one can be repeated.
pub async fn migrate(pool: &PgPool, parts: &[&Migrator]) -> Result<(), MigrateError> {
    let mut connection = pool.acquire().await?.detach();
    let unlimited = format!(
        "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
         SET lock_timeout = '{LOCK_TIMEOUT}'"
    );
    connection.execute(sqlx::AssertSqlSafe(unlimited)).await?;
    // Waiting for the lock within a statement would keep an old snapshot, for which another
    // process's `CREATE INDEX CONCURRENTLY` would wait.
    let ours = "SELECT pg_try_advisory_lock($1)";
    while !sqlx::query_scalar(ours).bind(LOCK).fetch_one(&mut connection).await? {
        info!("another process migrates this database");
        tokio::time::sleep(PAUSE).await;
    }
    let migrated = migrate_on(&mut connection, parts).await;
    // The lock ends with the connection.
    connection.close().await.ok();
    migrated
}

async fn migrate_on(
    connection: &mut PgConnection,
    parts: &[&Migrator],
) -> Result<(), MigrateError> {
    let needs = "CREATE TABLE IF NOT EXISTS schema_needs (version bigint PRIMARY KEY)";
    connection.execute(needs).await?;
    let known = all(parts);
    let mut migrator = Migrator { migrations: known.clone().into(), ..Migrator::DEFAULT };
    migrator.set_locking(false).set_ignore_missing(true);
    served(connection, &known).await?;
    for tried in 1.. {
        drop_unfinished_indexes(connection, &known).await?;
        match migrator.run_direct(None, connection, false).await {
            Ok(()) => break,
            Err(error) if !is_locked(&error) => return Err(error.into()),
            Err(error) if tried == TRIES => return Err(MigrateError::Locked(error)),
            Err(error) => {
                warn!(%error, tried, of = TRIES, "a migration is tried again: others hold its lock");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    Ok(())
}

/// Returns true if a migration failed because of a lock that others hold.
fn is_locked(error: &Sqlx) -> bool {
    let (Sqlx::Execute(error) | Sqlx::ExecuteMigration(error, _)) = error else { return false };
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(code.as_deref(), Some("55P03" | "40P01"))
}

/// Drops what an interrupted `CREATE INDEX CONCURRENTLY` of a pending migration has left behind.
/// Other invalid indexes may be somebody's who builds one by hand.
async fn drop_unfinished_indexes(
    connection: &mut PgConnection,
    known: &[Migration],
) -> Result<(), MigrateError> {
    let invalid: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE NOT i.indisvalid AND c.relnamespace = current_schema()::regnamespace",
    )
    .fetch_all(&mut *connection)
    .await?;
    let applied = applied(connection).await?;
    let pending = |migration: &&Migration| migration.no_tx && !applied.contains(&migration.version);
    let is_pending = |index: &String| {
        let builds = |sql: &str| sql.split_whitespace().any(|word| word == index);
        known.iter().filter(pending).any(|migration| builds(migration.sql.as_str()))
    };
    for index in invalid.into_iter().filter(is_pending) {
        warn!(index, "an index that was not finished is built again");
        let drop = format!("DROP INDEX CONCURRENTLY IF EXISTS \"{index}\"");
        connection.execute(sqlx::AssertSqlSafe(drop)).await?;
    }
    Ok(())
}

/// Returns the migrations that [`migrate`] would run, in their order. Changes nothing.
///
/// # Errors
/// [`MigrateError`].
pub async fn pending(pool: &PgPool, parts: &[&Migrator]) -> Result<Vec<Pending>, MigrateError> {
    let mut connection = pool.acquire().await?;
    let known = all(parts);
    served(&mut connection, &known).await?;
    let applied = applied(&mut connection).await?;
    let pending = known.iter().filter(|migration| !applied.contains(&migration.version));
    Ok(pending
        .map(|migration| Pending {
            version: migration.version,
            description: migration.description.to_string(),
            kind: Kind::of(&migration.description),
            long: migration.no_tx,
        })
        .collect())
}

/// Checks that a database's schema serves this binary: it has every migration that the binary
/// knows, and needs none that the binary does not know. Every role checks it at its start; only
/// `saga setup` changes a schema.
///
/// # Errors
/// [`MigrateError`].
pub async fn check(pool: &PgPool, parts: &[&Migrator]) -> Result<(), MigrateError> {
    match pending(pool, parts).await?.as_slice() {
        [] => Ok(()),
        _ => Err(MigrateError::Older),
    }
}

/// Fails if the schema needs a migration that is not known.
async fn served(connection: &mut PgConnection, known: &[Migration]) -> Result<(), MigrateError> {
    let needs = "SELECT version FROM schema_needs ORDER BY version";
    let needs = versions(connection, needs).await?;
    let unknown = |version: &i64| known.iter().all(|migration| migration.version != *version);
    needs.into_iter().find(unknown).map_or(Ok(()), |version| Err(MigrateError::Newer(version)))
}

async fn applied(connection: &mut PgConnection) -> Result<Vec<i64>, MigrateError> {
    versions(connection, "SELECT version FROM _sqlx_migrations WHERE success").await
}

/// Returns the versions in a table, and none if `saga setup` has not made it yet.
async fn versions(
    connection: &mut PgConnection,
    sql: &'static str,
) -> Result<Vec<i64>, MigrateError> {
    match sqlx::query_scalar(sql).fetch_all(connection).await {
        Ok(versions) => Ok(versions),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => {
            Ok(Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}

fn all(parts: &[&Migrator]) -> Vec<Migration> {
    let mut all: Vec<_> = parts.iter().flat_map(|part| part.iter().cloned()).collect();
    all.sort_by_key(|migration| migration.version);
    all
}
