use std::time::Duration;

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use saga_messaging::{PublishError, Refused, Transport as _};
use saga_rabbitmq::{ConnectError, RabbitMq};
use saga_test_support::{Servers, free_port};

use crate::setup::{SOON, command, connect, id, settings, settings_for, stock, stranger, take};

async fn refused(settings: saga_rabbitmq::Settings) -> ConnectError {
    let connecting = RabbitMq::connect(settings);
    tokio::time::timeout(SOON, connecting).await.expect("at once").expect_err("refused")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_named_with_what_to_do() {
    let settings = settings("arguments");
    let (_connection, channel) = stranger(&settings).await;
    let queue = format!("{}saga.commands.stock", settings.prefix);
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    channel
        .queue_declare(queue.as_str().into(), options, Default::default())
        .await
        .expect("a classic queue");
    let error = refused(settings).await;
    assert!(matches!(&error, ConnectError::DeclaredDifferently { name, .. } if *name == queue));
    assert!(error.to_string().contains("delete it"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_at_once_and_not_shown() {
    let mut settings = settings("password");
    settings.url = settings.url.replacen("guest:guest@", "guest:s3cret@", 1);
    assert!(settings.url.contains("s3cret"), "the test servers' user is guest");
    let error = refused(settings).await;
    assert!(
        matches!(&error, ConnectError::LoginRefused { user, .. } if user == "guest"),
        "{error:?}"
    );
    assert!(!format!("{error} {error:?}").contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_host_that_does_not_exist_is_refused_at_once() {
    let mut settings = settings("vhost");
    let end = settings.url.rfind('/').expect("a path");
    settings.url.replace_range(end.., "/nowhere");
    let error = refused(settings).await;
    assert!(matches!(error, ConnectError::VirtualHostRefused { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_never_comes_is_given_up_after_the_patience() {
    let mut settings = settings_for(format!("amqp://127.0.0.1:{}/%2f", free_port()), "nobody");
    settings.patience = Duration::from_secs(1);
    let error = refused(settings).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_nothing_is_given_up_after_the_patience() {
    let mute = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = mute.local_addr().expect("bound").port();
    let mut settings = settings_for(format!("amqp://127.0.0.1:{port}/%2f"), "mute");
    settings.connect_timeout = Duration::from_millis(300);
    settings.patience = Duration::from_secs(2);
    let error = refused(settings).await;
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_must_not_declare_is_told_to_set_up_first_and_then_works() {
    let mut settings = settings("passive");
    settings.declares = false;
    let error = refused(settings.clone()).await;
    let first = format!("{}saga.quarantine", settings.prefix);
    assert!(matches!(&error, ConnectError::Missing { name } if *name == first), "{error:?}");
    assert!(error.to_string().contains("saga setup"), "{error}");

    RabbitMq::setup(settings.clone()).await.expect("set up, whatever the setting says");
    let adapter = connect(&settings).await;
    let mut consumer = adapter.consume(stock(), 1);
    adapter.publish(vec![command("one")]).await.expect("confirmed");
    let delivery = take(&mut consumer, 1).await.remove(0);
    assert_eq!(id(&delivery), "one");
    delivery.ack.ack();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_must_not_declare_leaves_a_deleted_queue_deleted() {
    let mut settings = settings("deleted");
    settings.declares = false;
    RabbitMq::setup(settings.clone()).await.expect("set up");
    let adapter = connect(&settings).await;
    let (_connection, channel) = stranger(&settings).await;
    let queue = format!("{}saga.commands.stock", settings.prefix);
    let delete = || channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default());
    delete().await.expect("deleted");
    for _ in 0..2 {
        let refused = adapter.publish(vec![command("one")]).await.expect_err("no queue");
        assert!(
            matches!(&refused, PublishError::Refused(which) if which == &[(0, Refused::Unroutable)]),
            "{refused:?}"
        );
    }
    RabbitMq::setup(settings.clone()).await.expect("set up again");
    adapter.publish(vec![command("one")]).await.expect("confirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_up_twice_changes_nothing() {
    let settings = settings("twice");
    for _ in 0..2 {
        RabbitMq::setup(settings.clone()).await.expect("set up");
    }
    assert!(!Servers::shared().amqp_url().is_empty());
}
