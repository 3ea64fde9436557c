//! A full disk gives a clear failure and loses nothing, and work goes on once there is space.

use rusqlite::Connection;
use saga_core::Failure;

use super::{FIRST, NAMES, add, both, insert, names};
use crate::{Database, OpenError, Schema, failure, schema::sort};

/// Lets a database grow by at most this many pages.
async fn room(database: &Database, pages: i64) {
    let writer = database.writer.lock().await;
    let used: i64 =
        writer.pragma_query_value(None, "page_count", |row| row.get(0)).expect("its size");
    let limit = if pages == i64::MAX { pages } else { used + pages };
    // The pragma returns the new limit, so it must be run as a query.
    let set = format!("PRAGMA max_page_count = {limit}");
    writer.query_row(&set, [], |row| row.get::<_, i64>(0)).expect("a limit");
}

#[tokio::test]
async fn a_full_disk_is_a_failure_that_may_pass_and_loses_nothing() {
    let (_place, databases) = both();
    for database in databases {
        add(&database, "before").await;
        room(&database, 0).await;
        let tx = database.begin().await.expect("a transaction");
        insert(&tx, "fits beside it");
        let large = tx.execute("INSERT INTO names VALUES (?1)", ["x".repeat(1 << 20)]);
        let full = large.map_err(failure).expect_err("there is no room");
        assert!(matches!(full, Failure::Unavailable(_)), "{full}");
        drop(tx);
        assert_eq!(names(&database).await, ["before"]);

        room(&database, i64::MAX).await;
        add(&database, "after").await;
        assert_eq!(names(&database).await, ["after", "before"]);
    }
}

#[test]
fn a_migration_without_room_leaves_the_database_as_it_was() {
    let mut connection = Connection::open_in_memory().expect("a database");
    let path = std::path::Path::new("names.sqlite");
    NAMES.migrate(&mut connection, path).expect("the first schema");
    let limit = "PRAGMA max_page_count = 1";
    connection.query_row(limit, [], |row| row.get::<_, i64>(0)).expect("a limit");
    let newer = Schema { scripts: &[FIRST, "CREATE TABLE more (x TEXT)"], ..NAMES };
    let refusal = newer.migrate(&mut connection, path).expect_err("there is no room");
    assert!(matches!(refusal, OpenError::Full { .. }), "{refusal}");
    assert!(refusal.to_string().contains("no room for the database names.sqlite"), "{refusal}");
    NAMES.check(&connection, path).expect("still the first schema");
    let more = connection.prepare("SELECT * FROM more").map_err(|error| sort(path, error));
    assert!(more.is_err(), "the new table is there");
}
