//! Plants bugs in the SQL on its way to Postgres: a property proves something only if it was seen
//! to fail. SQLite has one writer, so it hides these races.

use std::time::Duration;

use saga_postgres::{Migrations, Pool, migrate};
use saga_test_support::{Servers, sql_proxy::SqlProxy};

pub(crate) use saga_test_support::sql_proxy::Plant;

use crate::databases;

/// The number of times that a race is run before its bug counts as not caught. One round is nearly
/// always enough.
const ROUNDS: u32 = 10;
/// Longer than any wait for a lock.
const LONGEST: Duration = Duration::from_secs(30);

/// Checks that a property fails with these plants in the SQL, with this message, and holds through
/// the same proxy without them. `open` gets a database with its schema.
pub(crate) async fn is_caught<F: Future<Output = ()> + Send + 'static>(
    parts: &'static [&'static Migrations],
    plants: &[Plant],
    says: &str,
    property: impl Fn(Pool) -> F,
) {
    if let Some(failure) = failure(parts, &[], &property).await {
        panic!("the real SQL fails: {failure}");
    }
    for _ in 0..ROUNDS {
        if let Some(failure) = failure(parts, plants, &property).await {
            assert!(failure.contains(says), "it fails, but not with {says:?}: {failure}");
            return;
        }
    }
    panic!("{plants:?} was not caught in {ROUNDS} rounds");
}

/// Checks that a property still holds without one safeguard, because others back it up.
pub(crate) async fn is_backed_up<F: Future<Output = ()> + Send + 'static>(
    parts: &'static [&'static Migrations],
    plants: &[Plant],
    property: impl Fn(Pool) -> F,
) {
    if let Some(failure) = failure(parts, plants, &property).await {
        panic!("without {plants:?} alone it fails: {failure}");
    }
}

/// Runs a property on a fresh database, and returns its message if it fails.
async fn failure<F: Future<Output = ()> + Send + 'static>(
    parts: &'static [&'static Migrations],
    plants: &[Plant],
    property: impl Fn(Pool) -> F,
) -> Option<String> {
    let fresh = || Servers::shared().fresh_database("planted");
    let url = tokio::task::spawn_blocking(fresh).await.expect("a database is made");
    let direct = databases::pool(&url).await;
    migrate(&direct, parts).await.expect("the schema is ours");
    // Postgres looks for a deadlock only after a second of waiting, and these tests make many.
    let hasty = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = 50',
                     current_database()); END $$";
    sqlx::query(hasty).execute(&direct).await.expect("we may do everything there");
    direct.close().await;
    let proxy = SqlProxy::before(&url, plants).await.expect("a proxy");
    let pool = databases::pool(proxy.url()).await;
    let run = tokio::time::timeout(LONGEST, tokio::spawn(property(pool))).await;
    let ended = run.expect("a property ends, even with a bug");
    assert!(proxy.has_planted_all(), "{plants:?} is not in the SQL: it has changed");
    let panicked = ended.err()?.into_panic();
    let text = panicked.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panicked.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    Some(text.expect("a panic says why"))
}
