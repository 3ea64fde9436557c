//! Tests that databases, the roles that own them, and read-only roles are set up correctly.

use saga_postgres::{Pool, PoolSettings, Reader, connect, provision, provision_reader};
use saga_test_support::Servers;

/// A database with its own owner, and a reader's login to it.
struct Shop {
    admin: String,
    owner: String,
    reader: String,
    role: String,
}

impl Shop {
    /// Creates a fresh database, and derives the names of the shop's databases and roles from its
    /// name. The tests must pass on servers that ask for passwords and on servers that do not, so
    /// they check what roles may do, and not who may log in.
    async fn new(hint: &str) -> Self {
        let admin = Servers::shared().fresh_database(hint);
        let name = admin.rsplit('/').next().expect("a path").split('?').next().expect("a name");
        let role = format!("{name}_reader");
        let of = |user: &str| {
            let (_, host) = admin.split_once('@').expect("a user");
            let host = host.split('/').next().expect("a host");
            format!("postgres://{user}:pass%20word@{host}/{name}_shop?sslmode=disable")
        };
        let shop = Self { owner: of(&format!("{name}_owner")), reader: of(&role), role, admin };
        provision(&shop.admin, &shop.owner).await.expect("a database and its owner");
        shop
    }

    async fn let_read(&self) {
        let reader = Reader { role: &self.role, password: "pass word" };
        provision_reader(&self.admin, &self.owner, &reader).await.expect("a reader");
    }
}

async fn log_in(url: &str) -> Result<Pool, saga_postgres::ConnectError> {
    let settings = PoolSettings { application: "saga test".to_owned(), max_connections: 1 };
    connect(url, &settings).await
}

async fn run(pool: &Pool, statement: &'static str) -> Result<u64, String> {
    let done = sqlx::query(statement).execute(pool).await;
    done.map(|done| done.rows_affected()).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_old_and_new_tables_and_changes_none() {
    let shop = Shop::new("reader").await;
    let owner = log_in(&shop.owner).await.expect("the owner");
    run(&owner, "CREATE TABLE old AS SELECT 1 AS n").await.expect("made");
    for _ in 0..2 {
        shop.let_read().await;
    }
    run(&owner, "CREATE TABLE new AS SELECT 2 AS n").await.expect("made");

    let reader = log_in(&shop.reader).await.expect("the reader");
    for statement in ["SELECT n FROM old", "SELECT n FROM new"] {
        assert_eq!(run(&reader, statement).await, Ok(1), "{statement}");
    }
    let refused = run(&reader, "DELETE FROM old").await.expect_err("it may only read");
    assert!(refused.contains("read-only transaction"), "{refused}");
    // A reader that starts a writing transaction is still stopped by the missing grants.
    run(&reader, "SET default_transaction_read_only = off").await.expect("anybody may");
    for statement in ["DELETE FROM old", "INSERT INTO new VALUES (3)", "CREATE TABLE mine (n int)"]
    {
        let refused = run(&reader, statement).await.expect_err("it may only read");
        assert!(refused.contains("permission denied"), "{statement}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_closed_to_the_reader_of_another_one() {
    let (shop, other) = (Shop::new("mine").await, Shop::new("theirs").await);
    shop.let_read().await;
    let (_, rest) = other.owner.split_once('@').expect("a user");
    let theirs = format!("postgres://{}:pass%20word@{rest}", shop.role);
    let refused = log_in(&theirs).await.expect_err("no CONNECT there").to_string();
    assert!(refused.contains("permission denied"), "{refused}");
}
