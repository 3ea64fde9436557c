//! An orchestrator's memory never overrules the row. Over Postgres an orchestrator decides on the
//! sagas as it wrote them last, without reading them. A decision that writes is checked against the
//! row's version; one that does not write reads the row first (protocol 1).

use std::time::Duration;

use saga_core::{Failure, Instance, SagaId, Timestamp};
use saga_engine::SagaStore as _;
use saga_postgres::{Incarnation, PoolSettings, connect_noticing};
use saga_store::postgres::SagaTable;
use sqlx::ConnectOptions as _;

use super::{Pool, Sagas, move_on, moved};

holds_on! { Sagas::{postgres}:
    what_another_has_written_is_seen_by_a_decision_that_writes_nothing,
    a_batch_of_which_another_has_moved_one_is_decided_on_again_as_a_whole,
    a_row_that_this_orchestrator_wrote_last_is_not_read_again,
    three_orchestrators_lose_no_transition_and_double_none,
    a_row_that_a_failover_has_replaced_is_read_again_although_its_version_is_the_same,
    once_the_database_is_another_one_nothing_is_decided_from_memory,
}

/// A database that several orchestrators share.
struct Shared {
    pool: Pool,
}

impl Shared {
    fn on(sagas: Sagas<SagaTable, Pool>) -> Self {
        Self { pool: sagas.beneath }
    }

    fn orchestrator(&self) -> Sagas<SagaTable, Pool> {
        let store = SagaTable::new(self.pool.clone()).remembering();
        Sagas { store, beneath: self.pool.clone(), _directory: None }
    }
}

/// Moves these sagas on, and returns the versions on which the committed decisions were made.
async fn turn(table: &SagaTable, ids: &[SagaId]) -> Vec<(SagaId, u64)> {
    let decide = |_: Timestamp, sagas: Vec<Instance>| {
        let seen: Vec<(SagaId, u64)> = sagas.iter().map(|saga| (saga.id, saga.version)).collect();
        (sagas.into_iter().map(moved).collect(), seen)
    };
    table.turn(ids, decide).await.expect("a turn")
}

async fn what_another_has_written_is_seen_by_a_decision_that_writes_nothing(
    sagas: Sagas<SagaTable, Pool>,
) {
    let shared = Shared::on(sagas);
    let (one, other) = (shared.orchestrator(), shared.orchestrator());
    let [id] = one.some(1).await[..] else { panic!("one saga") };
    turn(&one.store, &[id]).await;
    turn(&other.store, &[id]).await;
    let look = |_: Timestamp, sagas: Vec<Instance>| (Vec::new(), sagas[0].version);
    assert_eq!(one.store.turn(&[id], look).await.expect("a look"), 3);
}

async fn a_batch_of_which_another_has_moved_one_is_decided_on_again_as_a_whole(
    sagas: Sagas<SagaTable, Pool>,
) {
    let shared = Shared::on(sagas);
    let (one, other) = (shared.orchestrator(), shared.orchestrator());
    let ids = one.some(3).await;
    turn(&other.store, &ids[1..2]).await;
    let mut expected: Vec<(SagaId, u64)> = vec![(ids[0], 1), (ids[1], 2), (ids[2], 1)];
    expected.sort_unstable();
    assert_eq!(turn(&one.store, &ids).await, expected);
    for (id, version) in expected {
        assert_eq!(one.version(id).await, version + 1);
        assert_eq!(one.history(id).await.len() as u64, version + 1);
    }
}

async fn a_row_that_this_orchestrator_wrote_last_is_not_read_again(sagas: Sagas<SagaTable, Pool>) {
    let shared = Shared::on(sagas);
    let one = shared.orchestrator();
    let ids = one.some(2).await;
    // All rows are locked, and the orchestrator still decides.
    let mut locked = shared.pool.begin().await.expect("a transaction");
    sqlx::query("LOCK TABLE sagas IN EXCLUSIVE MODE").execute(&mut *locked).await.expect("locked");
    let (decided, mut told) = tokio::sync::mpsc::unbounded_channel();
    let turning = tokio::spawn(async move {
        let decide = |now: Timestamp, sagas: Vec<Instance>| {
            let _ = decided.send(());
            move_on(now, sagas)
        };
        one.store.turn(&ids, decide).await.expect("a turn")
    });
    tokio::time::timeout(Duration::from_secs(20), told.recv()).await.expect("it is decided");
    locked.rollback().await.expect("unlocked");
    assert_eq!(turning.await.expect("no panic").len(), 2);
    assert_eq!(told.recv().await, None, "and only once");
}

/// After a failover has lost the last second, a version may be written again with other data.
pub(super) async fn a_row_that_a_failover_has_replaced_is_read_again_although_its_version_is_the_same(
    sagas: Sagas<SagaTable, Pool>,
) {
    let shared = Shared::on(sagas);
    let one = shared.orchestrator();
    let [id] = one.some(1).await[..] else { panic!("one saga") };
    turn(&one.store, &[id]).await;
    let written = one.version(id).await;
    let other = r#"{"it was":"somebody else's"}"#;
    sqlx::query("UPDATE sagas SET data = $2 WHERE id = $1")
        .bind(id.0)
        .bind(other)
        .execute(&shared.pool)
        .await
        .expect("replaced");
    let look = |_: Timestamp, sagas: Vec<Instance>| {
        let seen = sagas[0].data.get().to_owned();
        (sagas.into_iter().map(moved).collect(), seen)
    };
    assert_eq!(one.store.turn(&[id], look).await.expect("a turn"), other);
    assert_eq!(one.version(id).await, written + 1);
}

/// A new connection finds that the tables were made anew, as if a dump had been restored.
async fn once_the_database_is_another_one_nothing_is_decided_from_memory(
    sagas: Sagas<SagaTable, Pool>,
) {
    let (url, incarnation) =
        (sagas.beneath.connect_options().to_url_lossy(), Incarnation::default());
    let settings = PoolSettings { application: "remembering".into(), max_connections: 2 };
    let pool = connect_noticing(url.as_str(), &settings, &incarnation).await.expect("it answers");
    let store = SagaTable::new(pool.clone()).remembering_of(incarnation.clone());
    let one = Sagas { store, beneath: pool.clone(), _directory: None };
    let ids = one.some(1).await;
    turn(&one.store, &ids).await;
    for sql in [
        "ALTER TABLE _sqlx_migrations RENAME TO replaced",
        "CREATE TABLE _sqlx_migrations AS SELECT * FROM replaced",
        r#"UPDATE sagas SET data = '{"it was":"restored"}'"#,
    ] {
        sqlx::query(sql).execute(&sagas.beneath).await.expect("replaced");
    }
    // Closes the old connections, of which the pool has two at most, and then opens a new one.
    for _ in 0..3 {
        pool.acquire().await.expect("it answers").close().await.expect("closed");
    }
    assert_eq!(incarnation.changes(), 1);
    let (decided, mut told) = tokio::sync::mpsc::unbounded_channel();
    let look = |_: Timestamp, sagas: Vec<Instance>| {
        let _ = decided.send(sagas[0].data.get().to_owned());
        (sagas.into_iter().map(moved).collect(), ())
    };
    one.store.turn(&ids, look).await.expect("a turn");
    assert_eq!(told.recv().await.as_deref(), Some(r#"{"it was":"restored"}"#), "at once");
}

/// Three orchestrators turn the same sagas: no transition is lost or done twice.
pub(super) async fn three_orchestrators_lose_no_transition_and_double_none(
    sagas: Sagas<SagaTable, Pool>,
) {
    const ROUNDS: usize = 25;
    let shared = Shared::on(sagas);
    let first = shared.orchestrator();
    let ids = first.some(4).await;
    let orchestrators: Vec<_> = (0..3)
        .map(|_| {
            let (table, ids) = (shared.orchestrator().store, ids.clone());
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    while let Err(failure) = table.turn(&ids, move_on).await {
                        assert!(matches!(failure, Failure::Conflict(_)), "{failure}");
                    }
                }
            })
        })
        .collect();
    for orchestrator in orchestrators {
        orchestrator.await.expect("no panic");
    }
    let turns = 1 + 3 * ROUNDS as u64;
    for id in ids {
        assert_eq!(first.version(id).await, turns);
        let versions: Vec<u64> = first.history(id).await.iter().map(|e| e.version).collect();
        assert_eq!(versions, (1..=turns).collect::<Vec<_>>());
    }
}
