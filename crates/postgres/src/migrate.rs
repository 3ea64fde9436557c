//! Migrations of a database's schema.

use sqlx::{
    PgPool,
    migrate::{MigrateError as Sqlx, Migration, Migrator},
};

/// The reason why a database cannot be migrated or used with this binary.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A newer binary has migrated the schema.
    #[error(
        "the database's schema is newer than this binary: it has migration {0}, which this binary does not know; run the newer binary"
    )]
    Newer(i64),
    /// `saga setup` has not been run since this binary was installed.
    #[error("the database's schema is older than this binary: run `saga setup`")]
    Older,
    /// A migration failed, or was changed after it had been applied.
    #[error("cannot migrate the database: {0}")]
    Failed(#[from] Sqlx),
}

/// Brings a database's schema up to date. Runs the migrations of several crates as one list. Safe
/// to repeat, and to run from several processes at once.
///
/// # Errors
/// [`MigrateError`]. No migration is applied in part: each is a transaction.
pub async fn migrate(pool: &PgPool, parts: &[&Migrator]) -> Result<(), MigrateError> {
    let migrator = Migrator { migrations: all(parts).into(), ..Migrator::DEFAULT };
    migrator.run(pool).await.map_err(|error| match error {
        Sqlx::VersionMissing(version) => MigrateError::Newer(version),
        error => MigrateError::Failed(error),
    })
}

/// Checks that a database's schema is exactly the one that this binary needs. Every role checks it
/// at its start; only `saga setup` changes a schema.
///
/// # Errors
/// [`MigrateError`].
pub async fn check(pool: &PgPool, parts: &[&Migrator]) -> Result<(), MigrateError> {
    let known: Vec<i64> = all(parts).iter().map(|migration| migration.version).collect();
    let applied: Result<Vec<i64>, sqlx::Error> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success")
            .fetch_all(pool)
            .await;
    let applied = match applied {
        Ok(applied) => applied,
        // The table of migrations does not exist: `saga setup` has never been run.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => Vec::new(),
        Err(error) => return Err(MigrateError::Failed(Sqlx::Execute(error))),
    };
    if let Some(newer) = applied.iter().find(|version| !known.contains(version)) {
        return Err(MigrateError::Newer(*newer));
    }
    if known.iter().any(|version| !applied.contains(version)) {
        return Err(MigrateError::Older);
    }
    Ok(())
}

fn all(parts: &[&Migrator]) -> Vec<Migration> {
    let mut all: Vec<_> = parts.iter().flat_map(|part| part.iter().cloned()).collect();
    all.sort_by_key(|migration| migration.version);
    all
}
