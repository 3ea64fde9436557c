use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use saga_provider::{RunError, Settings};
use saga_sqlite::OpenError;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::support::{Provider, client, dir, id, number, payment, reply};

/// Variable with the directory for the child of `everything_that_was_answered_survives_kill_9`.
const CHILD_DIR: &str = "SAGA_PROVIDER_TEST_CHILD_DIR";

/// Enough answers for many batches. When the provider is killed, all callers are waiting.
const ANSWERS_BEFORE_KILL: usize = 300;

#[tokio::test]
async fn a_restart_keeps_payments_answers_and_totals() {
    let dir = dir();
    let provider = Provider::start(dir.path()).await;
    let created = provider.create("create", "tok_approved").await;
    let id = id(&created);
    let captured = provider.capture(&id, "capture").await;
    assert_eq!(provider.refund(&id, "refund", 400).await.status, 201);
    provider.stop().await;

    let provider = Provider::start(dir.path()).await;
    let again = provider.create("create", "tok_approved").await;
    assert!(again.replayed);
    assert_eq!(again.body, created.body);
    assert_eq!(provider.capture(&id, "capture").await.body, captured.body);
    let now = provider.get(&format!("/v1/payments/{id}")).await;
    assert_eq!((&now.body["captured"], &now.body["refunded"]), (&json!(1_000), &json!(400)));
    assert_eq!(provider.refund(&id, "refund-2", 601).await.code(), "refund_exceeds_captured");
    provider.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_was_answered_survives_kill_9() {
    let dir = dir();
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "restart::a_provider_in_a_process_of_its_own",
            "--ignored",
            "--nocapture",
        ])
        .env(CHILD_DIR, dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let url = format!("http://{}/v1/payments", child_address(dir.path()).await);
    let client = client(Duration::from_secs(10));
    let answers = Arc::new(AtomicUsize::new(0));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..32 {
        let (client, url, answers) = (client.clone(), url.clone(), Arc::clone(&answers));
        callers.spawn(async move {
            let mut answered = BTreeMap::new();
            for n in 0.. {
                let key = format!("{caller}-{n}");
                let request = client
                    .post(&url)
                    .header("Idempotency-Key", &key)
                    .json(&payment("tok_approved"));
                let Ok(response) = request.send().await else {
                    break;
                };
                let Ok(created) = reply(response).await else {
                    break;
                };
                answered.insert(key, id(&created));
                answers.fetch_add(1, Ordering::Relaxed);
            }
            answered
        });
    }
    let under_load = async {
        while answers.load(Ordering::Relaxed) < ANSWERS_BEFORE_KILL {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let loaded = tokio::time::timeout(Duration::from_secs(20), under_load).await;
    child.kill().expect("SIGKILL");
    child.wait().expect("it is dead");
    let mut answered = BTreeMap::new();
    while let Some(caller) = callers.join_next().await {
        answered.extend(caller.expect("no panic"));
    }
    assert!(loaded.is_ok(), "it was to be killed under load, but answered only {}", answered.len());

    let provider = Provider::start(dir.path()).await;
    for (key, id) in answered {
        let found = provider.get(&format!("/v1/payments?idempotency_key={key}")).await;
        assert_eq!(found.body["payments"][0]["id"], json!(id), "{key}");
    }
    provider.stop().await;
    let orphans = "SELECT (SELECT count(*) FROM payments) - (SELECT count(*) FROM ledger)
                        + (SELECT count(*) FROM payments) - (SELECT count(*) FROM operations)";
    assert_eq!(
        number(dir.path(), orphans),
        0,
        "effect and recorded answer are there together or not at all"
    );
}

/// Waits until the child has written its address to a file, and returns the address.
async fn child_address(dir: &Path) -> String {
    let told = async {
        loop {
            if let Ok(address) = std::fs::read_to_string(dir.join("address")) {
                return address;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("the child starts")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the child of another test"]
async fn a_provider_in_a_process_of_its_own() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let dir = Path::new(&dir);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    std::fs::write(dir.join("address.new"), address).expect("written");
    std::fs::rename(dir.join("address.new"), dir.join("address")).expect("renamed");
    // The time limit ends the child even if its parent was killed first.
    let run = saga_provider::run(Settings::new(dir), listener, CancellationToken::new());
    let _timed_out = tokio::time::timeout(Duration::from_secs(60), run).await;
}

#[tokio::test]
async fn a_ledger_of_the_first_release_is_opened_and_continued() {
    const PAYMENT: &str = "pay_01a223a3ecf3743cb2b8a2cdaa2c9159";
    let dir = dir();
    let old = Connection::open(dir.path().join("provider.sqlite")).expect("a file");
    old.execute_batch(include_str!("ledger_of_the_first_release.sql")).expect("its content");
    let theirs = tables(&old);
    old.close().expect("it is closed");
    let lines = "SELECT count(*) FROM ledger";
    assert_eq!(number(dir.path(), lines), 4);

    let provider = Provider::start(dir.path()).await;
    let again = provider.create("create-1", "tok_approved").await;
    assert!(again.replayed, "its answers are remembered: {again:?}");
    assert_eq!((id(&again), &again.body["captured"]), (PAYMENT.to_owned(), &json!(0)));
    let now = provider.get(&format!("/v1/payments/{PAYMENT}")).await;
    assert_eq!((&now.body["captured"], &now.body["refunded"]), (&json!(1_000), &json!(400)));
    assert_eq!(provider.refund(PAYMENT, "refund-2", 601).await.code(), "refund_exceeds_captured");
    assert_eq!(provider.refund(PAYMENT, "refund-3", 600).await.status, 201);
    for (attempt, status) in [(2, 503), (3, 503), (4, 201)] {
        let reply = provider.create("create-3", "tok_down").await;
        assert_eq!(reply.status, status, "attempt {attempt}: the first was counted");
    }
    provider.stop().await;
    assert_eq!(number(dir.path(), lines), 6);

    let new = tempfile::tempdir().expect("a directory");
    Provider::start(new.path()).await.stop().await;
    let new = Connection::open(new.path().join("provider.sqlite")).expect("a file");
    assert_eq!(tables(&new), theirs, "a new file is as an old one");
}

/// Reads the definitions of tables and indices, the application id and the schema's version.
fn tables(connection: &Connection) -> (Vec<String>, i32, i32) {
    let mut all = connection
        .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        .expect("valid SQL");
    let rows = all.query_map([], |row| row.get(0)).expect("rows");
    let pragma =
        |name: &str| connection.pragma_query_value(None, name, |row| row.get(0)).expect("a pragma");
    let tables = rows.collect::<rusqlite::Result<_>>().expect("definitions");
    (tables, pragma("application_id"), pragma("user_version"))
}

#[tokio::test]
async fn a_provider_that_cannot_open_its_ledger_says_what_to_do() {
    let dir = dir();
    std::fs::write(dir.path().join("provider.sqlite"), "garbage ".repeat(1_000)).expect("written");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let ended =
        saga_provider::run(Settings::new(dir.path()), listener, CancellationToken::new()).await;
    let error = ended.expect_err("garbage is no ledger");
    assert!(
        matches!(error, RunError::Ledger(OpenError::Corrupt { .. }))
            && error.to_string().contains("move it away"),
        "{error}"
    );
}
