//! A process notices that its database went back, or that another server has taken over.

use saga_postgres::{Incarnation, Pool, PoolSettings, connect, connect_noticing};
use saga_test_support::Postgres;

/// Writes more to the server's log than a crash can cut off.
const MUCH: &str = "CREATE TABLE much AS SELECT md5(n::text) FROM generate_series(1, 60000) AS n";

/// A database on a server of its own, and a process that has seen it.
struct Seen {
    server: Postgres,
    incarnation: Incarnation,
}

impl Seen {
    async fn new() -> Self {
        let server = tokio::task::spawn_blocking(Postgres::start).await.expect("no panic");
        let seen =
            Self { server: server.expect("a server"), incarnation: Incarnation::of("order") };
        seen.administer(&["CREATE DATABASE books"]).await;
        seen
    }

    async fn administer(&self, commands: &[&'static str]) {
        let pool = connect(&self.server.url("postgres"), &settings()).await.expect("it answers");
        for command in commands {
            sqlx::query(*command).execute(&pool).await.expect(command);
        }
        pool.close().await;
    }

    /// Opens a new connection, as a pool does after it has lost one.
    async fn look(&self) -> u64 {
        let url = self.server.url("books");
        let pool =
            connect_noticing(&url, &settings(), &self.incarnation).await.expect("it answers");
        pool.close().await;
        self.incarnation.changes()
    }

    async fn write(&self) {
        let pool: Pool = connect(&self.server.url("books"), &settings()).await.expect("it answers");
        sqlx::query(MUCH).execute(&pool).await.expect("written");
        pool.close().await;
    }
}

fn settings() -> PoolSettings {
    PoolSettings { application: "incarnation".to_owned(), max_connections: 1 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_files_were_put_back_is_noticed_and_a_crash_is_not() {
    let seen = Seen::new().await;
    assert_eq!(seen.look().await, 0);
    seen.server.save().expect("saved");
    seen.server.restart().expect("it starts");
    seen.write().await;
    assert_eq!(seen.look().await, 0, "a restart loses nothing");
    seen.server.kill9().expect("killed");
    seen.server.restart().expect("it starts");
    assert_eq!(seen.look().await, 0, "nor does a crash");
    seen.server.put_back().expect("put back");
    seen.server.restart().expect("it starts");
    assert_eq!(seen.look().await, 1);
    assert_eq!(seen.look().await, 1, "it is known by now");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_and_a_database_that_was_made_anew_are_noticed() {
    let seen = Seen::new().await;
    assert_eq!(seen.look().await, 0);
    seen.server.fail_over().expect("promoted");
    assert_eq!(seen.look().await, 1);
    seen.administer(&["CREATE DATABASE copy TEMPLATE books"]).await;
    assert_eq!(seen.look().await, 1);
    seen.administer(&["DROP DATABASE books", "ALTER DATABASE copy RENAME TO books"]).await;
    assert_eq!(seen.look().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_ask_for_the_server_still_connects_and_notices_the_rest() {
    let seen = Seen::new().await;
    seen.administer(&[
        "CREATE ROLE plain LOGIN",
        "GRANT ALL ON DATABASE books TO plain",
        "CREATE DATABASE copy TEMPLATE books",
    ])
    .await;
    let url = seen.server.url("books").replace("postgres@", "plain@");
    let look = async || {
        let pool =
            connect_noticing(&url, &settings(), &seen.incarnation).await.expect("it answers");
        pool.close().await;
        seen.incarnation.changes()
    };
    assert_eq!(look().await, 0);
    let books = connect(&seen.server.url("books"), &settings()).await.expect("it answers");
    sqlx::query("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
        .execute(&books)
        .await
        .expect("revoked");
    books.close().await;
    assert_eq!(look().await, 0);
    seen.administer(&["DROP DATABASE books", "ALTER DATABASE copy RENAME TO books"]).await;
    assert_eq!(look().await, 1);
}
