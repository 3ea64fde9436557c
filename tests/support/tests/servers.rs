//! Tests that servers and their data survive a kill, and that nothing is left behind at the end.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use saga_test_support::process::wait_until;
use saga_test_support::{Postgres, RabbitMq, Servers};

const GONE_WITHIN: Duration = Duration::from_secs(15);
const MESSAGE_WITHIN: Duration = Duration::from_secs(20);
const PERSISTENT: u8 = 2;

#[test]
fn postgres_keeps_what_was_committed_before_a_kill() {
    let postgres = Postgres::start().expect("PostgreSQL starts");
    let url = postgres.url("postgres");
    sql(&url, "CREATE TABLE kept (n int); INSERT INTO kept SELECT generate_series(1, 1000)");
    let first = postgres.pid().expect("it runs");

    for _ in 0..3 {
        postgres.kill9().expect("it can be killed");
        assert_eq!(postgres.pid(), None);
        assert!(!psql(&url, "SELECT 1").status.success(), "a killed server answers nobody");
        postgres.restart().expect("it starts again");
        assert_eq!(postgres.url("postgres"), url);
        assert_eq!(sql(&url, "SELECT count(*) FROM kept"), "1000");
    }

    assert_ne!(postgres.pid().expect("it runs"), first);
}

#[test]
fn postgres_can_be_killed_while_sessions_are_busy() {
    let postgres = Postgres::start().expect("PostgreSQL starts");
    let url = postgres.url("postgres");
    let sessions: Vec<_> = (0..5)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || psql(&url, "SELECT pg_sleep(60)"))
        })
        .collect();
    let busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'";
    wait_until("five busy sessions", GONE_WITHIN, || sql(&url, busy) == "5");

    postgres.kill9().expect("it can be killed");
    for session in sessions {
        let output = session.join().expect("the thread ran psql");
        assert!(!output.status.success(), "a session of a killed server fails");
    }

    postgres.restart().expect("it starts again");
    assert_eq!(sql(&url, busy), "0");
}

#[test]
fn a_stopped_postgres_starts_again_and_a_dropped_one_is_gone() {
    let postgres = Postgres::start().expect("PostgreSQL starts");
    let url = postgres.url("postgres");
    assert_eq!(sql(&url, "SHOW fsync"), "on");
    assert_eq!(sql(&url, "SHOW max_connections"), "300");
    sql(&url, "CREATE TABLE kept ()");
    postgres.stop().expect("it stops");
    postgres.restart().expect("it starts again");
    assert_eq!(sql(&url, "SELECT count(*) FROM kept"), "0");

    let pid = postgres.pid().expect("it runs");
    drop(postgres);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_keeps_a_confirmed_message_over_a_kill_and_over_a_stop() {
    let rabbitmq = RabbitMq::start().expect("RabbitMQ starts");
    let url = rabbitmq.url();
    let first = rabbitmq.pid().expect("it runs");
    publish(&url, "kept", b"before the kill").await;

    rabbitmq.kill9().expect("it can be killed");
    assert_eq!(rabbitmq.pid(), None);
    assert!(!Path::new(&format!("/proc/{first}")).exists(), "the broker itself was killed");
    rabbitmq.restart().expect("it starts again");
    assert_ne!(rabbitmq.pid().expect("it runs"), first);
    assert_eq!(take(&url, "kept").await, b"before the kill");

    publish(&url, "kept", b"before the stop").await;
    rabbitmq.stop().expect("it stops");
    rabbitmq.restart().expect("it starts again");
    assert_eq!(take(&url, "kept").await, b"before the stop");

    let pid = rabbitmq.pid().expect("it runs");
    drop(rabbitmq);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn two_brokers_run_side_by_side() {
    let one = RabbitMq::start().expect("the first starts");
    let other = RabbitMq::start().expect("the second starts");
    assert_ne!(one.url(), other.url());
}

#[test]
fn fresh_databases_are_empty_and_apart() {
    let servers = Servers::shared();
    let one = servers.fresh_database("one");
    let other = servers.fresh_database("One; with DROP TABLE \"quotes\" and far too many letters");
    sql(&one, "CREATE TABLE only_here ()");
    let tables = "SELECT count(*) FROM pg_tables WHERE tablename = 'only_here'";
    assert_eq!(sql(&one, tables), "1");
    assert_eq!(sql(&other, tables), "0");
}

/// Publishes one persistent message into a durable queue and waits for its confirmation.
async fn publish(url: &str, queue: &str, payload: &[u8]) {
    let connection = connect(url).await;
    let channel = connection.create_channel().await.expect("a channel opens");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms are on");
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel
        .queue_declare(queue.into(), durable, FieldTable::default())
        .await
        .expect("the queue is declared");
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let confirmation = channel
        .basic_publish("".into(), queue.into(), mandatory, payload, properties)
        .await
        .expect("it is sent")
        .await
        .expect("it is answered");
    assert!(matches!(confirmation, lapin::Confirmation::Ack(None)), "{confirmation:?}");
    connection.close(200, "done".into()).await.expect("it closes");
}

/// Takes one message from a queue.
async fn take(url: &str, queue: &str) -> Vec<u8> {
    let connection = connect(url).await;
    let channel = connection.create_channel().await.expect("a channel opens");
    let mut deliveries = channel
        .basic_consume(
            queue.into(),
            "test".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("it consumes");
    let delivery = tokio::time::timeout(MESSAGE_WITHIN, deliveries.next())
        .await
        .expect("a message arrives in time")
        .expect("the consumer lives")
        .expect("the delivery is whole");
    delivery.ack(BasicAckOptions::default()).await.expect("it is acknowledged");
    connection.close(200, "done".into()).await.expect("it closes");
    delivery.data
}

async fn connect(url: &str) -> Connection {
    Connection::connect(url, ConnectionProperties::default()).await.expect("the broker accepts")
}

fn sql(url: &str, statement: &str) -> String {
    let output = psql(url, statement);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn psql(url: &str, statement: &str) -> Output {
    Command::new("psql")
        .args(["-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", statement])
        .env("PGCONNECT_TIMEOUT", "10")
        .output()
        .expect("psql is installed")
}
