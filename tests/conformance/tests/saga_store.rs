//! The sagas' store: Postgres, a SQLite file, SQLite in memory.

mod admissions;
mod claims;
mod planted;
mod quarantine;
mod reads;
mod remembering;
mod retention;
mod rows;
mod turns;

use std::{
    future::Future,
    sync::{LazyLock, atomic::AtomicU64},
};

use saga_core::{
    Direction, Happening, HistoryEntry, Instance, Opener, Phase, SagaId, Sending, StepState, Stuck,
    StuckReason, Timestamp, Watermark,
};
use saga_engine::{Admission, IdempotencyKey, Retention, SagaReads, SagaStore, Write};
use saga_postgres::Pool;
use saga_sqlite::{Clock, Database};
use saga_store::{postgres, sqlite};
use serde_json::value::RawValue;
use sqlx::Row as _;
use tempfile::TempDir;
use uuid::Uuid;

use crate::databases;

/// The ports of the engine that this store implements.
trait Store: SagaStore + SagaReads + Retention {}

impl<T: SagaStore + SagaReads + Retention> Store for T {}

/// Accesses the database directly, past the port, in the adapter's own SQL.
trait Beneath: Clone + Send + Sync + 'static {
    /// Damages a saga's row so that it does not decode.
    fn damage(&self, id: SagaId, damage: Damage) -> impl Future<Output = ()> + Send;

    /// Returns the time at which a saga is due.
    fn wake_at(&self, id: SagaId) -> impl Future<Output = Timestamp> + Send;

    /// Returns the quarantine, in the order of its ids.
    fn quarantined(&self) -> impl Future<Output = Vec<Quarantined>> + Send;
}

/// The ways in which a row can be damaged so that it does not decode.
#[derive(Clone, Copy)]
enum Damage {
    /// `progress` is not JSON.
    Progress,
    /// `data` is not JSON.
    Data,
    /// A newer binary has written the row.
    Format,
    /// A version number that no definition of ours has.
    DefinitionVersion,
}

impl Damage {
    const ALL: [Self; 4] = [Self::Progress, Self::Data, Self::Format, Self::DefinitionVersion];

    fn assignment(self) -> &'static str {
        match self {
            Self::Progress => "progress = '{'",
            Self::Data => "data = 'no JSON'",
            Self::Format => "format = 99",
            Self::DefinitionVersion => "definition_version = -1",
        }
    }
}

/// A row of the quarantine.
#[derive(Debug, PartialEq, Eq)]
struct Quarantined {
    id: String,
    reason: String,
    from: String,
    reply_to: Option<String>,
    body: Vec<u8>,
    copies: i64,
}

impl Beneath for Pool {
    async fn damage(&self, id: SagaId, damage: Damage) {
        let sql = format!("UPDATE sagas SET {} WHERE id = $1", damage.assignment());
        let done = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.0).execute(self).await;
        assert_eq!(done.expect("it is damaged").rows_affected(), 1);
    }

    async fn wake_at(&self, id: SagaId) -> Timestamp {
        let sql = "SELECT (extract(epoch FROM wake_at) * 1e6)::bigint FROM sagas WHERE id = $1";
        Timestamp(sqlx::query_scalar(sql).bind(id.0).fetch_one(self).await.expect("it waits"))
    }

    async fn quarantined(&self) -> Vec<Quarantined> {
        let sql = "SELECT id, reason, from_queue, reply_to, body, copies FROM quarantine
                   ORDER BY id";
        let rows = sqlx::query(sql).fetch_all(self).await.expect("the quarantine");
        let row = |row: &sqlx::postgres::PgRow| Quarantined {
            id: row.get("id"),
            reason: row.get("reason"),
            from: row.get("from_queue"),
            reply_to: row.get("reply_to"),
            body: row.get("body"),
            copies: row.get("copies"),
        };
        rows.iter().map(row).collect()
    }
}

impl Beneath for Database {
    async fn damage(&self, id: SagaId, damage: Damage) {
        let tx = self.begin().await.expect("a transaction");
        let sql = format!("UPDATE sagas SET {} WHERE id = ?1", damage.assignment());
        assert_eq!(tx.execute(&sql, [id.0]).expect("it is damaged"), 1);
        tx.commit().expect("committed");
    }

    async fn wake_at(&self, id: SagaId) -> Timestamp {
        let sql = "SELECT wake_at FROM sagas WHERE id = ?1";
        let at = self.read(|c| c.query_row(sql, [id.0], |row| row.get(0))).await;
        Timestamp(at.expect("it waits"))
    }

    async fn quarantined(&self) -> Vec<Quarantined> {
        let sql = "SELECT id, reason, from_queue, reply_to, body, copies FROM quarantine
                   ORDER BY id";
        let rows = self.read(|c| {
            c.prepare(sql)?
                .query_map([], |row| {
                    Ok(Quarantined {
                        id: row.get(0)?,
                        reason: row.get(1)?,
                        from: row.get(2)?,
                        reply_to: row.get(3)?,
                        body: row.get(4)?,
                        copies: row.get(5)?,
                    })
                })?
                .collect()
        });
        rows.await.expect("the quarantine")
    }
}

/// An adapter on a fresh database.
struct Sagas<S, B> {
    store: S,
    beneath: B,
    _directory: Option<TempDir>,
}

impl Sagas<postgres::SagaTable, Pool> {
    async fn postgres() -> Self {
        let (pool, _) = databases::postgres("saga_store", &[&postgres::MIGRATIONS]).await;
        Self::over(pool)
    }

    fn over(pool: Pool) -> Self {
        let store = postgres::SagaTable::new(pool.clone());
        Self { store, beneath: pool, _directory: None }
    }

    /// Creates a store with an orchestrator's memory: it decides on the sagas that it wrote last.
    async fn postgres_remembering() -> Self {
        let Self { store, beneath, _directory } = Self::postgres().await;
        Self { store: store.remembering(), beneath, _directory }
    }
}

impl Sagas<sqlite::SagaTable, Database> {
    async fn sqlite() -> Self {
        let (database, directory) = databases::sqlite(&sqlite::SCHEMA);
        Self::on_sqlite(database, Some(directory))
    }

    async fn in_memory() -> Self {
        Self::on_sqlite(databases::in_memory(&sqlite::SCHEMA), None)
    }

    fn on_sqlite(database: Database, directory: Option<TempDir>) -> Self {
        let store = sqlite::SagaTable::new(database.clone());
        Self { store, beneath: database, _directory: directory }
    }
}

const DEFINITION: &str = "place-order";
const HOSTED: [(&str, u32); 1] = [(DEFINITION, 1)];
/// An instant in 2001. A saga that wakes then is long due.
const PAST: Timestamp = Timestamp(1_000_000_000_000_000);
/// A day in microseconds.
const DAY: i64 = 86_400_000_000;
/// Returns an instant five minutes from now: not due, and not further ahead than a saga may sleep.
fn future() -> Timestamp {
    static FUTURE: LazyLock<Timestamp> =
        LazyLock::new(|| Clock::system().now().plus_millis(300_000));
    *FUTURE
}

impl<S: Store, B: Beneath> Sagas<S, B> {
    /// Admits these sagas, each under a key of its own.
    async fn admit(&self, sagas: &[Instance]) {
        let keys: Vec<IdempotencyKey> =
            sagas.iter().map(|saga| key(&saga.id.to_string(), saga.id)).collect();
        let decide = |_: Timestamp, new: &[usize]| {
            (new.iter().map(|index| begun(sagas[*index].clone())).collect(), ())
        };
        let (admissions, decided) = self.store.admit(&keys, decide).await.expect("admitted");
        assert_eq!(admissions, vec![Admission::New; sagas.len()]);
        assert_eq!(decided, Some(()));
    }

    /// Admits this many sagas, none of which is due.
    async fn some(&self, count: usize) -> Vec<SagaId> {
        let sagas: Vec<Instance> = (0..count).map(|_| saga()).collect();
        self.admit(&sagas).await;
        sagas.iter().map(|saga| saga.id).collect()
    }

    async fn find(&self, id: SagaId) -> Option<Instance> {
        let mut found = self.store.find(&[id]).await.expect("a read");
        assert!(found.len() <= 1, "{found:?}");
        found.pop()
    }

    async fn version(&self, id: SagaId) -> u64 {
        self.find(id).await.expect("it exists").version
    }

    /// Returns the time on the store's clock.
    async fn now(&self) -> Timestamp {
        self.store.turn(&[], |now, _| (vec![], now)).await.expect("a turn")
    }

    async fn history(&self, id: SagaId) -> Vec<HistoryEntry> {
        self.store.history(id, 0).await.expect("a read")
    }
}

/// Creates a saga that has just begun and is not due.
fn saga() -> Instance {
    Instance {
        id: SagaId(Uuid::now_v7()),
        definition: DEFINITION.to_owned(),
        definition_version: 1,
        version: 1,
        caller: "anonymous".to_owned(),
        phase: Phase::Running,
        steps: vec![StepState::Open(sending()), StepState::Pending],
        data: RawValue::from_string(r#"{"lines":[]}"#.to_owned()).expect("JSON"),
        started_at: PAST,
        deadline: future(),
        cancel: None,
        paused: None,
        intervention: None,
        wake_at: Some(future()),
        traceparent: None,
    }
}

fn due_at(wake_at: Timestamp) -> Instance {
    Instance { wake_at: Some(wake_at), ..saga() }
}

fn sending() -> Sending {
    Sending { attempts: 1, due_at: future(), opened_by: Opener::Own }
}

/// Returns the phase of a saga that waits for a person.
fn stuck() -> Phase {
    Phase::Stuck(Stuck {
        unwinding: None,
        step: "confirm-order".to_owned(),
        direction: Direction::Action,
        reason: StuckReason::Unanswered,
        since: PAST,
        remind_at: future(),
        alerts: 2,
    })
}

fn entry(saga: &Instance, happening: Happening) -> HistoryEntry {
    HistoryEntry {
        version: saga.version,
        at: saga.started_at,
        happening,
        sent: vec![("reserve-stock/action".to_owned(), 1)],
        state: saga.phase.state(),
    }
}

/// Returns the first write of a saga.
fn begun(saga: Instance) -> Write {
    let history = vec![entry(&saga, Happening::Started)];
    Write { before: 0, saga, history }
}

/// Returns a saga's next transition.
fn moved(mut saga: Instance) -> Write {
    let before = saga.version;
    saga.version += 1;
    let history = vec![entry(&saga, Happening::Resent)];
    Write { before, saga, history }
}

/// Returns a saga's last transition.
fn ended(saga: Instance) -> Write {
    let Write { before, saga, .. } = moved(saga);
    let saga = Instance { phase: Phase::Completed, wake_at: None, ..saga };
    let history = vec![entry(&saga, Happening::Resent)];
    Write { before, saga, history }
}

/// Returns the id of a saga that was made this many days ago.
fn made(now: Timestamp, days: i64) -> SagaId {
    Watermark::at(Timestamp(now.0 - days * DAY)).id()
}

/// Moves every saga on and returns the ids.
fn move_on(_: Timestamp, sagas: Vec<Instance>) -> (Vec<Write>, Vec<SagaId>) {
    let ids = sagas.iter().map(|saga| saga.id).collect();
    (sagas.into_iter().map(moved).collect(), ids)
}

/// Writes nothing and returns the ids of the sagas.
fn look(_: Timestamp, sagas: Vec<Instance>) -> (Vec<Write>, Vec<SagaId>) {
    (Vec::new(), sagas.iter().map(|saga| saga.id).collect())
}

fn key(name: &str, saga: SagaId) -> IdempotencyKey {
    IdempotencyKey {
        caller: "anonymous".to_owned(),
        method: "PlaceOrder",
        key: name.to_owned(),
        payload_hash: vec![1, 2, 3],
        saga,
    }
}

/// Formats all fields of a row, for comparison.
fn shown(saga: &Instance) -> String {
    let Instance {
        id,
        definition,
        definition_version,
        version,
        caller,
        phase,
        steps,
        data,
        started_at,
        deadline,
        cancel,
        paused,
        wake_at,
        traceparent,
        intervention,
    } = saga;
    format!(
        "{id} {definition:?} {definition_version} {version} {caller:?} {phase:?} {steps:?} {data} \
         {started_at:?} {deadline:?} {cancel:?} {paused:?} {wake_at:?} {traceparent:?} \
         {intervention:?}"
    )
}

/// Returns the next seed for a property's random choices.
fn next(seed: &AtomicU64) -> u64 {
    // Knuth's constants: they spread the moments well enough, and alike in each run.
    let step = |seed: u64| seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    let last = seed.fetch_update(
        std::sync::atomic::Ordering::Relaxed,
        std::sync::atomic::Ordering::Relaxed,
        |seed| Some(step(seed)),
    );
    last.unwrap_or_default() >> 33
}
