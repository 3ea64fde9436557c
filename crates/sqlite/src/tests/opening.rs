//! Opening files. A file that cannot be opened is left unchanged.

use std::fs;

use rusqlite::Connection;

use super::{FIRST, NAMES, Place, add, names, open, table_exists};
use crate::{OpenError, Schema};

#[tokio::test]
async fn what_was_committed_is_there_after_opening_it_again() {
    let place = Place::new();
    add(&place.open(), "one").await;
    assert_eq!(names(&place.open()).await, ["one"]);
}

#[tokio::test]
async fn a_file_that_was_closed_is_whole_without_a_log_beside_it() {
    let place = Place::new();
    let database = place.open();
    add(&database, "one").await;
    assert_eq!(names(&database).await, ["one"]);
    drop(database);
    let files: Vec<_> = fs::read_dir(place.dir.path())
        .expect("the directory")
        .map(|entry| entry.expect("a file").file_name())
        .collect();
    assert_eq!(files, ["names.sqlite"]);
}

#[tokio::test]
async fn commits_are_synchronous_and_readers_wait_for_no_writer() {
    let database = Place::new().open();
    let tx = database.begin().await.expect("a transaction");
    let pragma = |name: &str| -> String {
        tx.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
            .map(|value| format!("{value:?}"))
            .expect("a pragma")
    };
    assert_eq!(pragma("journal_mode"), r#"Text("wal")"#);
    assert_eq!(pragma("synchronous"), "Integer(2)", "FULL");
}

#[test]
fn a_schema_that_is_newer_than_the_binary_is_refused() {
    let place = Place::new();
    let newer = Schema { scripts: &[FIRST, "CREATE TABLE more (x) "], ..NAMES };
    drop(open(&place.path(), &newer).expect("a new file"));
    let before = fs::read(place.path()).expect("the file");
    let refusal = place.refusal(&NAMES);
    assert!(matches!(refusal, OpenError::TooNew { found: 2, supported: 1, .. }), "{refusal}");
    assert!(refusal.to_string().contains("use a newer binary"), "{refusal}");
    assert_eq!(fs::read(place.path()).expect("the file"), before);
}

#[tokio::test]
async fn an_older_schema_is_brought_up_to_date_and_keeps_its_rows() {
    let place = Place::new();
    add(&place.open(), "one").await;
    let newer = Schema { scripts: &[FIRST, "ALTER TABLE names ADD COLUMN note TEXT"], ..NAMES };
    let database = open(&place.path(), &newer).expect("it is migrated");
    let notes: i64 = database
        .read(|c| c.query_row("SELECT count(*) FROM names WHERE note IS NULL", [], |r| r.get(0)))
        .await
        .expect("the new column");
    assert_eq!(notes, 1);
}

#[tokio::test]
async fn a_migration_is_whole_or_absent() {
    const SECOND: &str = "CREATE TABLE second (x INTEGER) STRICT; INSERT INTO names VALUES ('two')";
    const THIRD: &str = "CREATE TABLE third (x INTEGER) STRICT; INSERT INTO nowhere VALUES (1)";
    let place = Place::new();
    add(&place.open(), "one").await;
    let newer = Schema { scripts: &[FIRST, SECOND, THIRD], ..NAMES };
    let refusal = place.refusal(&newer);
    assert!(matches!(refusal, OpenError::Database { .. }), "{refusal}");
    let database = place.open();
    assert_eq!(names(&database).await, ["one"]);
    assert!(!table_exists(&database, "second").await);
    assert!(!table_exists(&database, "third").await);
}

#[test]
fn a_database_of_another_program_is_refused_and_left_as_it_was() {
    let place = Place::new();
    let theirs = Connection::open(place.path()).expect("a file");
    theirs.execute_batch("CREATE TABLE bookmarks (url TEXT)").expect("their table");
    drop(theirs);
    let before = fs::read(place.path()).expect("the file");
    let refusal = place.refusal(&NAMES);
    assert!(matches!(refusal, OpenError::Foreign(_)), "{refusal}");
    assert_eq!(fs::read(place.path()).expect("the file"), before);
}

#[test]
fn a_database_of_another_role_is_refused() {
    let place = Place::new();
    drop(place.open());
    let refusal = place.refusal(&Schema { application_id: 1, ..NAMES });
    assert!(matches!(refusal, OpenError::Foreign(_)), "{refusal}");
}

#[test]
fn what_is_no_database_is_refused_and_left_byte_for_byte() {
    let place = Place::new();
    let text = "Dear diary, ".repeat(1_000);
    fs::write(place.path(), &text).expect("a file");
    let refusal = place.refusal(&NAMES);
    assert!(matches!(refusal, OpenError::Corrupt { .. }), "{refusal}");
    assert!(refusal.to_string().contains("names.sqlite"), "{refusal}");
    assert_eq!(fs::read(place.path()).expect("the file"), text.as_bytes());
}

/// Copies a database with its log, as a power cut would leave them, and damages every byte from the
/// second page on.
async fn damaged() -> Place {
    let (first, place) = (Place::new(), Place::new());
    {
        let database = first.open();
        for number in 0..1_000 {
            add(&database, &format!("name {number}")).await;
        }
    }
    let again = first.open();
    add(&again, "in the log only").await;
    let mut bytes = fs::read(first.path()).expect("the file");
    assert!(bytes.len() > 3 * 4_096, "several pages");
    bytes[4_096..].fill(0x5a);
    fs::write(place.path(), bytes).expect("a copy");
    let log = "names.sqlite-wal";
    fs::copy(first.dir.path().join(log), place.dir.path().join(log)).expect("its log");
    place
}

#[tokio::test]
async fn a_damaged_database_is_refused_and_left_byte_for_byte() {
    let place = damaged().await;
    let bytes = || {
        let log = place.dir.path().join("names.sqlite-wal");
        (fs::read(place.path()).expect("the file"), fs::read(log).expect("its log"))
    };
    let before = bytes();
    for _ in 0..2 {
        let refusal = place.refusal(&NAMES);
        assert!(matches!(refusal, OpenError::Corrupt { .. }), "{refusal}");
        assert!(refusal.to_string().contains("restore it from a backup"), "{refusal}");
        assert!(bytes() == before, "it was changed");
    }
}

#[test]
fn a_database_that_was_cut_short_is_refused_and_left_byte_for_byte() {
    let place = Place::new();
    drop(place.open());
    let mut bytes = fs::read(place.path()).expect("the file");
    bytes.truncate(bytes.len() - 4_096);
    fs::write(place.path(), &bytes).expect("shorter");
    let refusal = place.refusal(&NAMES);
    assert!(matches!(refusal, OpenError::Corrupt { .. }), "{refusal}");
    assert_eq!(fs::read(place.path()).expect("the file"), bytes);
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let place = Place::new();
    // Nobody can create files in /proc, not even an administrator.
    for directory in [place.dir.path().join("missing"), "/proc".into()] {
        let path = directory.join("names.sqlite");
        let refusal = open(&path, &NAMES).map(drop).expect_err("no file can be made there");
        assert!(matches!(refusal, OpenError::Access { .. }), "{refusal}");
        assert!(refusal.to_string().contains(&path.display().to_string()), "{refusal}");
    }
}
