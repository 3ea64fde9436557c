//! Copies a few columns of each database, in one snapshot a database, into the scratch database.

mod postgres;
mod sqlite;

use std::path::PathBuf;

use tokio::task::spawn_blocking;

use saga_audit::{Books, Database, Failure, PARTICULARS, Scratch, TABLES, Table};

use super::{Servers, Sources};
use crate::secrets::Secret;

/// The order in which the databases are read. The provider's ledger comes after our payment
/// service's database: a payment is written at the provider first, so all that was read from the
/// payment service must then be found at the provider.
const READING_ORDER: [Database; 5] = [
    Database::Orchestrator,
    Database::Order,
    Database::Inventory,
    Database::Payment,
    Database::Provider,
];

/// Location of one database.
#[derive(Clone, Debug)]
enum Source {
    Postgres(Secret),
    File(PathBuf),
}

/// The reasons why an audit ends without a verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// A database cannot be read.
    #[error("the {database}'s database {place} cannot be read: {reason}")]
    Database { database: Database, place: String, reason: String },
    /// The copies cannot be stored, for example because the disk is full.
    #[error("the scratch database in the directory for temporary files cannot be used: {0}")]
    Scratch(rusqlite::Error),
}

impl Unreadable {
    pub(super) fn scratch(error: rusqlite::Error) -> Self {
        Self::Scratch(error)
    }
}

/// Copies what the equations need of all databases into one scratch database.
pub(super) async fn collect(sources: &Sources) -> Result<Books, Unreadable> {
    copy(sources, &[]).await
}

/// Copies also what it takes to bring databases together that do not agree.
pub(crate) async fn collect_particulars(servers: &Servers) -> Result<Books, Unreadable> {
    copy(&Sources::Servers(servers.clone()), PARTICULARS).await
}

async fn copy(sources: &Sources, more: &'static [Table]) -> Result<Books, Unreadable> {
    let mut scratch = Scratch::new().map_err(Unreadable::Scratch)?;
    for database in READING_ORDER {
        let source = source_of(database, sources);
        let unreadable = source.unreadable(database);
        let read = match source {
            Source::Postgres(url) => {
                postgres::read(&url, database, TABLES.iter().chain(more), scratch).await
            }
            Source::File(path) => {
                let read = move || sqlite::read(&path, database, scratch);
                spawn_blocking(read).await.expect("reading does not panic")
            }
        };
        scratch = read.map_err(unreadable)?;
    }
    let complete = spawn_blocking(move || scratch.complete());
    complete.await.expect("deriving does not panic").map_err(Unreadable::Scratch)
}

/// The progress of all sagas together. If two pulses are equal, no saga has moved between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pulse {
    sagas: i64,
    versions: i64,
    /// Sagas that have neither ended nor are stuck.
    pub(super) in_progress: i64,
}

impl Pulse {
    /// The query, in SQL that both Postgres and SQLite accept.
    const SQL: &'static str = "SELECT CAST(count(*) AS bigint),
                CAST(coalesce(sum(version), 0) AS bigint),
                CAST(coalesce(sum(CASE WHEN state IN (1, 2) THEN 1 ELSE 0 END), 0) AS bigint)
         FROM sagas";

    pub(super) async fn of(sources: &Sources) -> Result<Self, Unreadable> {
        let source = source_of(Database::Orchestrator, sources);
        let unreadable = source.unreadable(Database::Orchestrator);
        let pulse = match source {
            Source::Postgres(url) => postgres::pulse(&url).await,
            Source::File(path) => {
                spawn_blocking(move || sqlite::pulse(&path)).await.expect("it does not panic")
            }
        };
        pulse.map_err(unreadable)
    }

    fn new([sagas, versions, in_progress]: [i64; 3]) -> Self {
        Self { sagas, versions, in_progress }
    }
}

/// Returns the location of a database.
fn source_of(database: Database, sources: &Sources) -> Source {
    match (sources, database) {
        (Sources::DataDir(dir), Database::Provider) => {
            Source::File(dir.join("provider").join("provider.sqlite"))
        }
        (
            Sources::DataDir(dir),
            Database::Orchestrator | Database::Order | Database::Inventory | Database::Payment,
        ) => Source::File(dir.join(format!("{database}.sqlite"))),
        (Sources::Servers(servers), Database::Orchestrator) => {
            Source::Postgres(servers.orchestrator.clone())
        }
        (Sources::Servers(servers), Database::Order) => Source::Postgres(servers.order.clone()),
        (Sources::Servers(servers), Database::Inventory) => {
            Source::Postgres(servers.inventory.clone())
        }
        (Sources::Servers(servers), Database::Payment) => Source::Postgres(servers.payment.clone()),
        (Sources::Servers(servers), Database::Provider) => {
            Source::File(servers.provider_data_dir.join("provider.sqlite"))
        }
    }
}

impl Source {
    /// Turns a failure into one that names the database's location, but never its password.
    fn unreadable(&self, database: Database) -> impl FnOnce(Failure) -> Unreadable + use<> {
        let place = match self {
            Self::Postgres(url) => postgres::place(url),
            Self::File(path) => path.display().to_string(),
        };
        move |failure| match failure {
            Failure::Source(reason) => Unreadable::Database { database, place, reason },
            Failure::Scratch(error) => Unreadable::Scratch(error),
        }
    }
}
