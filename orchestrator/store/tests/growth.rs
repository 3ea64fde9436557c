//! Ended sagas cost the hot path nothing. With many more of them in the tables, each statement
//! keeps its plan, and reads at most one more page of each index.
//!
//! The plans are those of the adapter's own statements as they run, including generic plans:
//! Postgres sends each plan along (`auto_explain`). `SAGA_TEST_ENDED` sets the number of ended
//! sagas at the end. A release is tested with two million: `SAGA_TEST_ENDED=2000000
//! target/release/with-servers cargo nextest run --release -p saga-store`.

use std::{
    collections::BTreeMap,
    str::FromStr as _,
    sync::{Arc, Mutex},
};

use saga_core::{
    Happening, HistoryEntry, Hosted, Instance, Opener, Phase, SagaId, Sending, StepState, Timestamp,
};
use saga_engine::{
    IdempotencyKey, ListFilter, Retention as _, SagaReads as _, SagaStore as _, Write,
};
use saga_postgres::SESSION;
use saga_store::postgres::{MIGRATIONS, SagaTable};
use saga_test_support::Servers;
use serde_json::{Value, value::RawValue};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt as _};
use uuid::Uuid;

/// Ended sagas at first: enough that no plan reads a whole table.
const FEW: u64 = 5_000;
/// Ended sagas at the end, in an ordinary run of the tests.
const MANY: u64 = 50_000;
/// Maximum number of pages that a statement reads more while a snapshot is held: a few levels of an
/// index.
const MOST_PAGES_MORE: u64 = 8;
/// Enough rounds that a prepared statement has reached its generic plan.
const ROUNDS: usize = 12;

/// A statement's plan: its nodes, the pages that it reads, and its tables.
#[derive(Clone, Debug)]
struct Plan {
    shape: Vec<String>,
    buffers: u64,
    tables: Vec<String>,
}

/// Plans by their statement, each with the smallest number of pages seen.
type Plans = BTreeMap<String, Plan>;

/// The messages that Postgres sends about each statement.
#[derive(Clone, Default)]
struct Notices(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Notices {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::postgres::notice" {
            event.record(&mut self.clone());
        }
    }
}

impl Visit for Notices {
    fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
        self.0.lock().expect("nobody panics").push(format!("{value:?}"));
    }

    fn record_str(&mut self, _: &Field, value: &str) {
        self.0.lock().expect("nobody panics").push(value.to_owned());
    }
}

impl Notices {
    fn plans(&self) -> Plans {
        let mut plans = Plans::new();
        for notice in std::mem::take(&mut *self.0.lock().expect("nobody panics")) {
            let Some(begin) = notice.find('{') else { continue };
            let Ok(told) = serde_json::from_str::<Value>(&notice[begin..]) else { continue };
            let query = told["Query Text"].as_str().unwrap_or_default();
            let words: Vec<&str> = query.split_whitespace().collect();
            let plan = Plan::of(&told["Plan"]);
            let fewest = plans.entry(words.join(" ")).or_insert_with(|| plan.clone());
            // The plan of the last execution, which is the generic one if there is one.
            *fewest = Plan { buffers: fewest.buffers.min(plan.buffers), ..plan };
        }
        plans
    }
}

impl Plan {
    fn of(plan: &Value) -> Self {
        let pages = |name: &str| plan[name].as_u64().unwrap_or_default();
        let buffers = pages("Shared Hit Blocks") + pages("Shared Read Blocks");
        let mut all = Self { shape: Vec::new(), buffers, tables: Vec::new() };
        all.add(plan);
        all
    }

    fn add(&mut self, node: &Value) {
        let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
        // A cache of the node below it.
        if text("Node Type") == "Memoize" {
            return node["Plans"]
                .as_array()
                .into_iter()
                .flatten()
                .for_each(|inner| self.add(inner));
        }
        self.shape.push(format!(
            "{} {} {}",
            text("Node Type"),
            text("Relation Name"),
            text("Index Name")
        ));
        let table = text("Relation Name");
        if !table.is_empty() && !self.tables.contains(&table) {
            self.tables.push(table);
        }
        for inner in node["Plans"].as_array().into_iter().flatten() {
            self.add(inner);
        }
    }
}

/// Connects so that Postgres sends the plan of every statement.
async fn explained(url: &str) -> PgPool {
    let as_in_production = PgConnectOptions::from_str(url).expect("a URL").options(SESSION);
    let options = as_in_production.options([
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_buffers", "on"),
        ("auto_explain.log_timing", "off"),
        ("auto_explain.log_format", "json"),
        ("auto_explain.log_level", "notice"),
    ]);
    PgPoolOptions::new().max_connections(1).connect_with(options).await.expect("it answers")
}

/// Inserts the ended sagas numbered `from` to `to`, as turns would have left them, and updates the
/// planner's statistics.
async fn load(pool: &PgPool, from: u64, to: u64) {
    for sql in [
        "INSERT INTO sagas (id, format, definition, definition_version, caller, state, version,
             progress, data, started_at, deadline, ended_at)
         SELECT (lpad(to_hex(1700000000000 + g), 12, '0') || '70008' || lpad(to_hex(g), 15, '0'))::uuid,
             1, 'place-order', 1, 'anonymous', 3, 9, repeat('p', 300), repeat('d', 200),
             now(), now(), now()
         FROM generate_series($1::bigint, $2::bigint) g",
        "INSERT INTO saga_history (saga_id, version, caller, at, state, entry)
         SELECT (lpad(to_hex(1700000000000 + g), 12, '0') || '70008' || lpad(to_hex(g), 15, '0'))::uuid,
             v, 'anonymous', now(), 1, '{\"what\":\"done\"}'
         FROM generate_series($1::bigint, $2::bigint) g, generate_series(1, 3) v",
        "INSERT INTO idempotency_keys (caller, method, key, payload_hash, saga_id)
         SELECT 'anonymous', 'PlaceOrder', md5(g::text), '\\x00',
             (lpad(to_hex(1700000000000 + g), 12, '0') || '70008' || lpad(to_hex(g), 15, '0'))::uuid
         FROM generate_series($1::bigint, $2::bigint) g",
    ] {
        let (from, to) = (i64::try_from(from).expect("few"), i64::try_from(to).expect("few"));
        sqlx::query(sql).bind(from).bind(to).execute(pool).await.expect("loaded");
    }
    for table in ["sagas", "saga_history", "idempotency_keys", "saga_watermark"] {
        let vacuum = sqlx::AssertSqlSafe(format!("VACUUM ANALYZE {table}"));
        sqlx::query(vacuum).execute(pool).await.expect("vacuumed");
    }
}

fn saga() -> Instance {
    let at = Timestamp(1_700_000_000_000_000);
    let sending = Sending { attempts: 1, due_at: at, opened_by: Opener::Own };
    Instance {
        id: SagaId(Uuid::now_v7()),
        definition: "place-order".to_owned(),
        definition_version: 1,
        version: 1,
        caller: "anonymous".to_owned(),
        phase: Phase::Running,
        steps: vec![StepState::Open(sending)],
        data: RawValue::from_string("{}".to_owned()).expect("JSON"),
        started_at: at,
        deadline: at,
        cancel: None,
        paused: None,
        intervention: None,
        wake_at: Some(at),
        traceparent: None,
    }
}

fn write(before: u64, saga: Instance) -> Write {
    let history = vec![HistoryEntry {
        version: saga.version,
        at: saga.started_at,
        happening: Happening::Resent,
        sent: Vec::new(),
        state: saga.phase.state(),
    }];
    Write { before, saga, history }
}

fn move_on(saga: Instance, phase: Phase) -> Write {
    let wake_at = phase.ended().is_none().then_some(saga.started_at);
    write(saga.version, Instance { version: saga.version + 1, phase, wake_at, ..saga })
}

/// Decides that all sagas move on.
fn on(_: Timestamp, found: Vec<Instance>) -> (Vec<Write>, ()) {
    (found.into_iter().map(|saga| move_on(saga, Phase::Running)).collect(), ())
}

/// Every operation of the hot path on the store, one saga after the other.
async fn work(store: &SagaTable) {
    for _ in 0..ROUNDS {
        let new = saga();
        let key = IdempotencyKey {
            caller: "anonymous".to_owned(),
            method: "PlaceOrder",
            key: new.id.to_string(),
            payload_hash: vec![0],
            saga: new.id,
        };
        let keys = [key];
        for _ in ["new", "repeated"] {
            store.admit(&keys, |_, _| (vec![write(0, new.clone())], ())).await.expect("admitted");
        }
        store.turn(&[new.id], on).await.expect("a turn");
        store.claim(&[("place-order", 1)], 512, on).await.expect("a claim");
        store.find(&[new.id]).await.expect("a read");
        store.versions(&[new.id]).await.expect("a read");
        store.history(new.id, 0).await.expect("a read");
        store.in_flight().await.expect("a read");
        store.census().await.expect("a read");
        let end = |_: Timestamp, found: Vec<Instance>| {
            (found.into_iter().map(|saga| move_on(saga, Phase::Completed)).collect(), ())
        };
        store.turn(&[new.id], end).await.expect("it ends");
        store.advance(u64::MAX).await.expect("it stands");
    }
}

/// Returns true for the search for the earliest saga that has not ended. It is made once a minute.
fn is_search(query: &str) -> bool {
    query.starts_with("SELECT LEAST(")
}

/// The number of indexes of each table.
async fn indexes(pool: &PgPool) -> BTreeMap<String, u64> {
    let sql = "SELECT tablename::text, count(*) FROM pg_indexes
               WHERE schemaname = 'public' GROUP BY tablename";
    let rows: Vec<(String, i64)> = sqlx::query_as(sql).fetch_all(pool).await.expect("the indexes");
    rows.into_iter().map(|(table, count)| (table, count.unsigned_abs())).collect()
}

/// Measures the plans of `work` before and after many sagas have ended. Returns the plans before,
/// and the differences that must not be.
async fn grown<F: Future<Output = ()>>(work: impl Fn(SagaTable) -> F) -> (Plans, Vec<String>) {
    let many = std::env::var("SAGA_TEST_ENDED").map_or(MANY, |n| n.parse().expect("a number"));
    let fresh = || Servers::shared().fresh_database("growth");
    let url = tokio::task::spawn_blocking(fresh).await.expect("a database is made");
    let quiet = PgPool::connect(&url).await.expect("it answers");
    MIGRATIONS.run(&quiet).await.expect("the schema is ours");
    let notices = Notices::default();
    let subscriber = tracing_subscriber::registry().with(notices.clone());
    tracing::subscriber::set_global_default(subscriber).expect("nobody else has");

    let measure = async || {
        // A new connection, so that no older plans are left.
        let pool = explained(&url).await;
        work(SagaTable::new(pool.clone())).await;
        pool.close().await;
        notices.plans()
    };
    load(&quiet, 1, FEW).await;
    let few = measure().await;
    load(&quiet, FEW + 1, many).await;
    let after = measure().await;

    let of_table = indexes(&quiet).await;
    let mut wrong = Vec::new();
    for (query, few) in few.iter().filter(|(query, _)| !is_search(query)) {
        let after = &after[query];
        let levels: u64 = few.tables.iter().filter_map(|table| of_table.get(table)).sum();
        if few.shape != after.shape {
            wrong.push(format!("{query}\n  {:?}\n  {:?}", few.shape, after.shape));
        } else if after.buffers > few.buffers + levels {
            let (few, after) = (few.buffers, after.buffers);
            wrong.push(format!("{query}\n  {few} pages, then {after}, of {levels} indexes"));
        }
    }
    (few, wrong)
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_sagas_cost_the_hot_path_at_most_one_page_an_index() {
    let (few, wrong) = grown(async |store| work(&store).await).await;
    assert!(few.len() >= 10, "only {} statements were explained", few.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// While a snapshot is held, for example by `pg_dump`, no vacuum removes the index entries of sagas
/// that have ended since, and they come before those of the sagas that are due.
#[tokio::test(flavor = "multi_thread")]
async fn sagas_that_end_while_a_snapshot_is_held_cost_claims_and_counts_nothing() {
    let fresh = || Servers::shared().fresh_database("snapshot");
    let url = tokio::task::spawn_blocking(fresh).await.expect("a database is made");
    let quiet = PgPool::connect(&url).await.expect("it answers");
    MIGRATIONS.run(&quiet).await.expect("the schema is ours");
    let notices = Notices::default();
    let subscriber = tracing_subscriber::registry().with(notices.clone());
    tracing::subscriber::set_global_default(subscriber).expect("nobody else has");
    load(&quiet, 1, FEW).await;
    let pool = explained(&url).await;
    let store = SagaTable::new(pool.clone());
    let look = async || {
        for _ in 0..ROUNDS {
            store.claim(&[("place-order", 1)], 512, on).await.expect("a claim");
            store.in_flight().await.expect("a read");
            store.census().await.expect("a read");
        }
        notices.plans()
    };
    let before = look().await;

    let mut snapshot = quiet.begin().await.expect("a transaction");
    for sql in ["SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM sagas"] {
        sqlx::query(sql).execute(&mut *snapshot).await.expect("a snapshot");
    }
    for sql in [
        "UPDATE sagas SET state = 1, ended_at = NULL, wake_at = now() - interval '1 minute'",
        "UPDATE sagas SET state = 3, ended_at = now(), wake_at = NULL",
    ] {
        sqlx::query(sql).execute(&quiet).await.expect("written");
    }
    let after = look().await;
    // A process that has just started searches the whole index once, past what has ended.
    SagaTable::new(pool).in_flight().await.expect("a read");
    let searched = notices.plans();
    snapshot.rollback().await.expect("it ends");
    let search = searched.iter().find(|(query, _)| is_search(query)).expect("a search").1.buffers;
    assert!(search > 10 * MOST_PAGES_MORE, "the snapshot costs a search only {search} pages");
    for (query, before) in before.iter().filter(|(query, _)| !is_search(query)) {
        let (before, after) = (before.buffers, after[query].buffers);
        assert!(after <= before + MOST_PAGES_MORE, "{query}\n  {before} pages, then {after}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_by_reason_or_of_what_needs_a_person_leaves_out_what_has_completed() {
    let (few, wrong) = grown(async |store| {
        let by_reason = ListFilter {
            reason: Some("OUT_OF_STOCK".to_owned()),
            limit: 50,
            ..ListFilter::default()
        };
        let needs_me =
            ListFilter { needs_me: Some(Hosted::default()), limit: 50, ..ListFilter::default() };
        for _ in 0..ROUNDS {
            store.list(&by_reason).await.expect("a list");
            store.list(&needs_me).await.expect("a list");
        }
    })
    .await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let by_reason = few.iter().find(|(query, _)| query.contains("state IN (2, 4, 5)"));
    let (_, plan) = by_reason.expect("it was explained");
    assert!(plan.shape.iter().any(|node| node.contains("sagas_undone")), "{plan:?}");
    assert_eq!(few.len(), 2, "{:?}", few.keys());
}
