//! Fresh databases that are empty except for their schema: Postgres, a SQLite file, and SQLite in
//! memory.

use std::path::Path;

use saga_postgres::{Migrations, Pool, PoolSettings, connect, migrate};
use saga_sqlite::{Clock, Database, Schema};
use saga_test_support::Servers;
use tempfile::TempDir;

/// More connections than any property uses at once.
const CONNECTIONS: u32 = 20;

/// Creates a database on the tests' Postgres, and returns a pool and its URL.
pub(crate) async fn postgres(hint: &'static str, parts: &[&Migrations]) -> (Pool, String) {
    let fresh = || Servers::shared().fresh_database(hint);
    let url = tokio::task::spawn_blocking(fresh).await.expect("a database is made");
    let pool = pool(&url).await;
    migrate(&pool, parts).await.expect("the schema is ours");
    (pool, url)
}

/// Opens one more pool on a database.
pub(crate) async fn pool(url: &str) -> Pool {
    let settings = PoolSettings { application: "conformance".into(), max_connections: CONNECTIONS };
    connect(url, &settings).await.expect("the database answers")
}

/// Creates a SQLite file, in a directory that is deleted when the `TempDir` is dropped.
pub(crate) fn sqlite(schema: &Schema) -> (Database, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    (sqlite_in(directory.path(), schema), directory)
}

/// Opens the file in a directory, and creates it if necessary.
pub(crate) fn sqlite_in(directory: &Path, schema: &Schema) -> Database {
    let path = directory.join("conformance.sqlite");
    Database::open(&path, schema, Clock::system()).expect("a database")
}

/// Creates a database that ends with its last clone.
pub(crate) fn in_memory(schema: &Schema) -> Database {
    Database::in_memory(schema, Clock::system()).expect("a database")
}

/// Queries tables directly, past the port. The SQL must be the same in every dialect.
#[derive(Clone)]
pub(crate) enum Probe {
    Postgres(Pool),
    Sqlite(Database),
}

impl Probe {
    /// Runs a query for one number.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        match self {
            Self::Postgres(pool) => {
                sqlx::query_scalar(sql).fetch_one(pool).await.expect("a number")
            }
            Self::Sqlite(database) => database
                .read(|connection| connection.query_row(sql, [], |row| row.get(0)))
                .await
                .expect("a number"),
        }
    }
}
