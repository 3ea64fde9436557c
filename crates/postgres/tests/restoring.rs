//! A role may run on while its database is made anew, before a backup is restored into it.

use saga_core::Failure;
use saga_postgres::{Pool, PoolSettings, connect, failure};
use saga_test_support::Servers;

async fn pool(url: &str) -> Pool {
    let settings = PoolSettings { application: "test".to_owned(), max_connections: 1 };
    connect(url, &settings).await.expect("it answers")
}

async fn read(pool: &Pool) -> Result<(), Failure> {
    sqlx::query("SELECT 1").execute(pool).await.map(|_| ()).map_err(failure)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_dropped_is_away_and_what_it_is_asked_is_not_poison() {
    let fresh = || Servers::shared().fresh_database("restoring");
    let url = tokio::task::spawn_blocking(fresh).await.expect("a database is made");
    let (name, restored) = (url.rsplit('/').next().expect("a name"), pool(&url).await);
    let name = name.split('?').next().expect("a name");
    let admin = pool(&Servers::shared().postgres_url()).await;
    read(&restored).await.expect("it is there");
    let drop = format!("DROP DATABASE \"{name}\" WITH (FORCE)");
    sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&admin).await.expect("it is dropped");
    // The first attempt finds its connection closed, and the next ones find no database.
    for _ in 0..3 {
        let missing = read(&restored).await;
        assert!(matches!(missing, Err(Failure::Unavailable(_))), "{missing:?}");
    }
}
