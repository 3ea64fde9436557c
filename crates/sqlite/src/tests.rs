//! Tests databases in files and in memory: opening them, and their transactions.

mod full_disk;
mod opening;
mod transactions;

use std::path::{Path, PathBuf};

use rusqlite::OptionalExtension as _;
use tempfile::TempDir;

use crate::{Clock, Database, OpenError, Schema, Transaction};

const FIRST: &str = "CREATE TABLE names (name TEXT PRIMARY KEY) STRICT";

/// A schema with one table of names.
const NAMES: Schema = Schema { application_id: 0x7465_7374, scripts: &[FIRST] };

/// A directory for one database, and the database's path in it.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("names.sqlite")
    }

    fn open(&self) -> Database {
        open(&self.path(), &NAMES).expect("it can be opened")
    }

    fn refusal(&self, schema: &Schema) -> OpenError {
        open(&self.path(), schema).map(drop).expect_err("it cannot be opened")
    }
}

fn open(path: &Path, schema: &Schema) -> Result<Database, OpenError> {
    Database::open(path, schema, Clock::system())
}

/// Creates one database in memory and one in a file.
fn both() -> (Place, [Database; 2]) {
    let place = Place::new();
    let memory = Database::in_memory(&NAMES, Clock::system()).expect("a database");
    let file = place.open();
    (place, [memory, file])
}

fn insert(tx: &Transaction, name: &str) {
    tx.execute("INSERT INTO names VALUES (?1)", [name]).expect("a new name");
}

async fn add(database: &Database, name: &str) {
    let tx = database.begin().await.expect("a transaction");
    insert(&tx, name);
    tx.commit().expect("it is committed");
}

async fn names(database: &Database) -> Vec<String> {
    let all = "SELECT name FROM names ORDER BY name";
    database
        .read(|c| c.prepare(all)?.query_map([], |row| row.get(0))?.collect())
        .await
        .expect("the names")
}

async fn table_exists(database: &Database, table: &str) -> bool {
    let named = "SELECT 1 FROM sqlite_schema WHERE name = ?1";
    let found = database.read(|c| c.query_row(named, [table], |_| Ok(())).optional()).await;
    found.expect("the schema").is_some()
}
