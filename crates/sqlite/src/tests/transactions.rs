//! Transactions: their commits, and when other connections see their writes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use saga_core::{Failure, Timestamp};

use super::{NAMES, add, both, insert, names};
use crate::{Clock, Database, failure};

#[tokio::test]
async fn a_dropped_transaction_is_undone() {
    let (_place, databases) = both();
    for database in databases {
        add(&database, "kept").await;
        let tx = database.begin().await.expect("a transaction");
        insert(&tx, "dropped");
        drop(tx);
        assert_eq!(names(&database).await, ["kept"]);
        add(&database, "after").await;
        assert_eq!(names(&database).await, ["after", "kept"]);
    }
}

#[tokio::test]
async fn a_write_is_committed_if_it_succeeds_and_undone_if_it_fails() {
    let (_place, databases) = both();
    for database in databases {
        let one = "INSERT INTO names VALUES ('one')";
        let written = database.write(|tx| tx.execute(one, [])).await;
        assert_eq!(written.expect("it is committed"), 1);
        let failed = database.write(|tx| {
            insert(tx, "two");
            tx.execute(one, [])
        });
        let failed = failed.await.expect_err("it is there already");
        assert!(matches!(failed, Failure::Conflict(_)), "{failed}");
        assert_eq!(names(&database).await, ["one"]);
        add(&database, "after").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_in_a_task_of_a_runtime_with_threads_is_committed() {
    let (_place, databases) = both();
    for database in databases {
        let writer = database.clone();
        let written = tokio::spawn(async move {
            writer.write(|tx| tx.execute("INSERT INTO names VALUES ('one')", [])).await
        });
        assert_eq!(written.await.expect("no panic").expect("it is committed"), 1);
        assert_eq!(names(&database).await, ["one"]);
    }
}

#[tokio::test]
async fn a_transaction_whose_future_is_dropped_is_undone() {
    let (_place, databases) = both();
    for database in databases {
        let begun = async {
            let tx = database.begin().await.expect("a transaction");
            insert(&tx, "dropped");
            std::future::pending::<()>().await;
            tx.commit()
        };
        let elapsed = tokio::time::timeout(Duration::from_millis(20), begun).await;
        assert!(elapsed.is_err(), "it never ends");
        assert_eq!(names(&database).await, Vec::<String>::new());
        add(&database, "after").await;
    }
}

#[tokio::test]
async fn a_statement_that_fails_leaves_the_transaction_as_it_was() {
    let (_place, databases) = both();
    for database in databases {
        let tx = database.begin().await.expect("a transaction");
        insert(&tx, "one");
        let twice = tx.execute("INSERT INTO names VALUES ('two'), ('one')", []);
        let twice = twice.map_err(failure).expect_err("it is there already");
        assert!(matches!(twice, Failure::Conflict(_)), "{twice}");
        tx.commit().expect("what came before");
        assert_eq!(names(&database).await, ["one"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_transactions_exclude_each_other() {
    let (_place, databases) = both();
    for database in databases {
        let inside = Arc::new(AtomicBool::new(false));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..50 {
            let (database, inside) = (database.clone(), Arc::clone(&inside));
            tasks.spawn(async move {
                let tx = database.begin().await.expect("a transaction");
                assert!(!inside.swap(true, Ordering::SeqCst), "somebody else is inside");
                // If another transaction could begin while this one is open, it would do so here.
                tokio::task::yield_now().await;
                insert(&tx, &format!("{number:02}"));
                tokio::task::yield_now().await;
                inside.store(false, Ordering::SeqCst);
                tx.commit().expect("it is committed");
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no task fails");
        }
        assert_eq!(names(&database).await.len(), 50);
    }
}

#[tokio::test]
async fn readers_of_a_file_see_only_what_is_committed_and_wait_for_nobody() {
    let (_place, [_, file]) = both();
    let tx = file.begin().await.expect("a transaction");
    insert(&tx, "not yet");
    assert_eq!(names(&file).await, Vec::<String>::new());
    tx.commit().expect("it is committed");
    assert_eq!(names(&file).await, ["not yet"]);
}

#[tokio::test]
async fn readers_of_memory_wait_for_the_transaction_to_end() {
    let (_place, [memory, _]) = both();
    let tx = memory.begin().await.expect("a transaction");
    insert(&tx, "not yet");
    let early = tokio::time::timeout(Duration::from_millis(20), names(&memory)).await;
    assert!(early.is_err(), "it read what is not committed: {early:?}");
    drop(tx);
    assert_eq!(names(&memory).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_reader_of_a_file_cannot_write() {
    let (_place, [_, file]) = both();
    let written = file.read(|c| c.execute("INSERT INTO names VALUES ('x')", [])).await;
    assert!(matches!(written, Err(Failure::Unavailable(_))), "{written:?}");
    assert_eq!(names(&file).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_transaction_has_one_instant_that_is_its_databases() {
    let ticks = Arc::new(AtomicI64::new(0));
    let clock = Clock::new(move || Timestamp(ticks.fetch_add(1, Ordering::SeqCst)));
    let database = Database::in_memory(&NAMES, clock).expect("a database");
    let tx = database.begin().await.expect("a transaction");
    assert_eq!((tx.now(), tx.now()), (Timestamp(0), Timestamp(0)));
    drop(tx);
    assert_eq!(database.begin().await.expect("the next one").now(), Timestamp(1));
}
