//! Migrations while binaries of two releases use the same database.

use std::{borrow::Cow, time::Duration};

use saga_postgres::{
    Kind, MigrateError, Migrations, Pool, PoolSettings, check, connect, migrate, pending,
};
use saga_test_support::Servers;
use sqlx::{
    SqlStr,
    migrate::{Migration, MigrationType},
};

/// What a release calls its migrations, and their SQL. `-- no-transaction` is said by the flag.
type Release = &'static [(i64, &'static str, &'static str, bool)];

const FIRST: Release =
    &[(1, "parcels", "CREATE TABLE parcels (id bigint PRIMARY KEY, weight integer)", false)];
const COLUMN: (i64, &str, &str, bool) =
    (2, "grams expand", "ALTER TABLE parcels ADD COLUMN grams bigint", false);
const SECOND: Release = &[FIRST[0], COLUMN];
/// Takes the old column away. Only binaries that know the new one may go on.
const THIRD: Release = &[
    FIRST[0],
    COLUMN,
    (
        3,
        "no weight contract",
        "ALTER TABLE parcels DROP COLUMN weight; INSERT INTO schema_needs VALUES (2)",
        false,
    ),
];

fn migrations(release: Release) -> Migrations {
    let migration = |(version, description, sql, no_tx): &(i64, _, &'static str, bool)| {
        let sql = SqlStr::from_static(sql);
        let description = Cow::Borrowed(*description);
        Migration::new(*version, description, MigrationType::Simple, sql, *no_tx)
    };
    Migrations::with_migrations(release.iter().map(migration).collect())
}

async fn database() -> (Pool, String) {
    let url = tokio::task::spawn_blocking(|| Servers::shared().fresh_database("migrating")).await;
    let url = url.expect("no panic");
    (pool(&url).await, url)
}

async fn pool(url: &str) -> Pool {
    let settings = PoolSettings { application: "migrating".to_owned(), max_connections: 2 };
    connect(url, &settings).await.expect("it answers")
}

async fn run(pool: &Pool, sql: &'static str) {
    sqlx::raw_sql(sql).execute(pool).await.expect(sql);
}

#[tokio::test]
async fn an_older_binary_starts_until_the_schema_contracts_what_it_needs() {
    let [first, second, third] = [FIRST, SECOND, THIRD].map(migrations);
    let (pool, _) = database().await;
    assert!(matches!(check(&pool, &[&first]).await, Err(MigrateError::Older)));
    migrate(&pool, &[&first]).await.expect("migrated");
    assert!(matches!(check(&pool, &[&second]).await, Err(MigrateError::Older)));
    migrate(&pool, &[&second]).await.expect("migrated");
    for release in [&first, &second] {
        check(&pool, &[release]).await.expect("both are served");
        // A roll-back runs its own `saga setup`, which has nothing to do.
        migrate(&pool, &[release]).await.expect("nothing to do");
        assert_eq!(pending(&pool, &[release]).await.expect("known"), []);
    }
    let due = pending(&pool, &[&third]).await.expect("known");
    assert_eq!(
        due.iter().map(|due| (due.version, due.kind)).collect::<Vec<_>>(),
        [(3, Kind::Contract)]
    );
    migrate(&pool, &[&third]).await.expect("migrated");
    for release in [&second, &third] {
        check(&pool, &[release]).await.expect("both know the column");
    }
    for refused in [check(&pool, &[&first]).await, migrate(&pool, &[&first]).await] {
        assert!(matches!(refused, Err(MigrateError::Newer(2))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_migration_has_no_time_limit() {
    // A role's connections do have one: a table that takes longer could never be migrated.
    const LIMITS: Release = &[(
        1,
        "limits",
        "DO $$ BEGIN
            IF current_setting('statement_timeout') <> '0'
                OR current_setting('idle_in_transaction_session_timeout') <> '0'
                OR current_setting('lock_timeout') <> '2s'
            THEN RAISE 'there are limits'; END IF;
        END $$",
        false,
    )];
    let (pool, _) = database().await;
    migrate(&pool, &[&migrations(LIMITS)]).await.expect("migrated");
    let limit: String =
        sqlx::query_scalar("SHOW statement_timeout").fetch_one(&pool).await.expect("a limit");
    assert_eq!(limit, "10s", "a role's connection has its limits");
}

#[tokio::test]
async fn nobody_waits_behind_a_migration_that_waits_for_a_lock() {
    let (pool, url) = database().await;
    migrate(&pool, &[&migrations(FIRST)]).await.expect("migrated");
    let mut reader = pool.begin().await.expect("a transaction");
    sqlx::raw_sql("SELECT * FROM parcels").execute(&mut *reader).await.expect("read");
    let migrating = {
        let url = url.clone();
        tokio::spawn(async move { migrate(&self::pool(&url).await, &[&migrations(SECOND)]).await })
    };
    let other = self::pool(&url).await;
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        // Waits while the migration waits, for its 2 s at most; a role's own limit is 5 s.
        run(&other, "INSERT INTO parcels SELECT coalesce(max(id), 0) + 1, 1 FROM parcels").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!migrating.is_finished(), "the lock is held");
    reader.commit().await.expect("committed");
    migrating.await.expect("no panic").expect("migrated");
    check(&pool, &[&migrations(SECOND)]).await.expect("up to date");
}

#[tokio::test]
async fn an_index_that_was_not_finished_is_built_again() {
    const INDEX: Release = &[
        FIRST[0],
        (
            2,
            "by weight expand",
            "CREATE INDEX CONCURRENTLY IF NOT EXISTS parcels_by_weight ON parcels (weight)",
            true,
        ),
    ];
    let (pool, _) = database().await;
    migrate(&pool, &[&migrations(FIRST)]).await.expect("migrated");
    // As an interrupted build leaves it.
    run(&pool, "INSERT INTO parcels VALUES (1, 7), (2, 7)").await;
    let unfinished = "CREATE UNIQUE INDEX CONCURRENTLY parcels_by_weight ON parcels (weight)";
    sqlx::raw_sql(unfinished).execute(&pool).await.expect_err("two parcels weigh the same");
    assert!(pending(&pool, &[&migrations(INDEX)]).await.expect("known")[0].long);
    migrate(&pool, &[&migrations(INDEX)]).await.expect("migrated");
    let valid = "SELECT indisvalid AND NOT indisunique FROM pg_index
        WHERE indexrelid = 'parcels_by_weight'::regclass";
    let is_valid = async || sqlx::query_scalar::<_, bool>(valid).fetch_one(&pool).await;
    assert!(is_valid().await.expect("an index"));
    // Somebody builds it anew by hand: that is not ours to drop, for nothing would build it again.
    run(
        &pool,
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'parcels_by_weight'::regclass",
    )
    .await;
    migrate(&pool, &[&migrations(INDEX)]).await.expect("nothing to do");
    assert!(!is_valid().await.expect("it is still there"));
}

#[tokio::test]
async fn two_processes_migrate_one_after_the_other() {
    const SLOW: Release =
        &[(1, "slow", "CREATE TABLE parcels (id int); SELECT pg_sleep(1)", false)];
    let (first, url) = database().await;
    let second = pool(&url).await;
    let release = &[&migrations(SLOW)];
    let (one, two) = tokio::join!(migrate(&first, release), migrate(&second, release));
    one.expect("migrated");
    two.expect("nothing to do");
}
