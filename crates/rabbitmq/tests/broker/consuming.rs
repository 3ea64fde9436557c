use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use saga_messaging::{Queue, Transport};
use saga_rabbitmq::RabbitMq;
use saga_test_support::eventually;

use crate::setup::{
    NEVER, SOON, command, connect, id, ids, nothing, settings, stock, stranger, take,
};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dropped_consumer_had_comes_again_and_says_so() {
    let rabbit = connect(&settings("dropped")).await;
    rabbit.publish(vec![command("a"), command("b")]).await.expect("published");
    let mut first = rabbit.consume(stock(), 10);
    let taken = take(&mut first, 2).await;
    assert!(taken.iter().all(|delivery| !delivery.redelivered));
    drop(taken);
    drop(first);
    let mut second = rabbit.consume(stock(), 10);
    let taken = take(&mut second, 2).await;
    assert!(taken.iter().all(|delivery| delivery.redelivered));
    assert_eq!(ids(&taken), ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_hand_when_the_consumer_is_dropped_can_still_be_acknowledged() {
    let rabbit = connect(&settings("in hand")).await;
    rabbit.publish(vec![command("a"), command("b")]).await.expect("published");
    let mut first = rabbit.consume(stock(), 10);
    let mut taken = take(&mut first, 2).await;
    drop(first);
    tokio::time::sleep(NEVER).await;
    for delivery in taken.extract_if(.., |delivery| id(delivery) == "a") {
        delivery.ack.ack();
    }
    drop(taken);
    let mut second = rabbit.consume(stock(), 10);
    assert_eq!(ids(&take(&mut second, 1).await), ["b"]);
    nothing(&mut second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledging_later_deliveries_does_not_acknowledge_an_earlier_one() {
    let rabbit = connect(&settings("order")).await;
    let all: Vec<String> = (0..20).map(|number| format!("{number:02}")).collect();
    rabbit.publish(all.iter().map(|id| command(id)).collect()).await.expect("published");
    let mut first = rabbit.consume(stock(), 20);
    let mut kept = Vec::new();
    for delivery in take(&mut first, 20).await {
        if ["03", "11"].contains(&id(&delivery)) {
            kept.push(delivery);
        } else {
            delivery.ack.ack();
        }
    }
    tokio::time::sleep(NEVER).await;
    drop(kept);
    drop(first);
    let mut second = rabbit.consume(stock(), 20);
    assert_eq!(ids(&take(&mut second, 2).await), ["03", "11"]);
    nothing(&mut second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_the_prefetch_is_out() {
    let rabbit = connect(&settings("prefetch")).await;
    rabbit.publish((0..20).map(|n| command(&n.to_string())).collect()).await.expect("published");
    let mut narrow = rabbit.consume(stock(), 5);
    let mut held = take(&mut narrow, 5).await;
    nothing(&mut narrow).await;
    for delivery in held.drain(..2) {
        delivery.ack.ack();
    }
    held.extend(take(&mut narrow, 2).await);
    nothing(&mut narrow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_closing_does_not_come_again() {
    let settings = settings("closing");
    let rabbit = connect(&settings).await;
    rabbit.publish((0..50).map(|n| command(&n.to_string())).collect()).await.expect("published");
    let mut consumer = rabbit.consume(stock(), 10);
    for _ in 0..30 {
        take(&mut consumer, 1).await.remove(0).ack.ack();
    }
    rabbit.close().await;
    let (_connection, channel) = stranger(&settings).await;
    let left = channel
        .queue_declare(
            format!("{}saga.commands.stock", settings.prefix).into(),
            QueueDeclareOptions { passive: true, ..Default::default() },
            Default::default(),
        )
        .await
        .expect("still there");
    assert_eq!(left.message_count(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_comes_back_under_its_consumer() {
    let settings = settings("deleted");
    let rabbit = connect(&settings).await;
    let mut consumer = rabbit.consume(stock(), 10);
    rabbit.publish(vec![command("before")]).await.expect("published");
    take(&mut consumer, 1).await.remove(0).ack.ack();
    let (_connection, channel) = stranger(&settings).await;
    let queue = rabbit.topology().queue(&stock());
    let options = QueueDeleteOptions::default();
    channel.queue_delete(queue.as_str().into(), options).await.expect("deleted");
    eventually("the queue to be back", SOON, async || {
        rabbit.publish(vec![command("after")]).await.ok()
    })
    .await;
    assert_eq!(id(&take(&mut consumer, 1).await[0]), "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_queue_comes_back_when_somebody_publishes_to_it() {
    let settings = settings("republished");
    let rabbit = connect(&settings).await;
    rabbit.publish(vec![command("before")]).await.expect("published");
    let (_connection, channel) = stranger(&settings).await;
    let queue = rabbit.topology().queue(&stock());
    let options = QueueDeleteOptions::default();
    channel.queue_delete(queue.as_str().into(), options).await.expect("deleted");
    rabbit.publish(vec![command("lost")]).await.expect_err("there is no queue");
    rabbit.publish(vec![command("after")]).await.expect("there is again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_too_often_goes_to_the_quarantine() {
    let mut settings = settings("limit");
    settings.delivery_limit = 2;
    let rabbit = connect(&settings).await;
    rabbit.publish(vec![command("killer")]).await.expect("published");
    let mut quarantine = rabbit.consume(Queue::Quarantine, 10);
    let mut deliveries = 0;
    let dead = loop {
        // This consumer takes the message and is then dropped, as in a crash.
        let mut victim = rabbit.consume(stock(), 1);
        tokio::select! {
            taken = victim.next(1) => deliveries += taken.len(),
            dead = take(&mut quarantine, 1) => break dead,
        }
        assert!(deliveries < 10, "no limit");
        drop(victim);
    };
    assert_eq!(id(&dead[0]), "killer");
    let death = dead[0].death.as_ref().expect("the broker moved it");
    assert_eq!(death.reason, "delivery_limit");
    assert_eq!(death.queue, rabbit.topology().queue(&stock()));
    assert!(deliveries >= 2, "{deliveries}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_is_believed_in_the_quarantine_only() {
    let settings = settings("forged");
    let rabbit = connect(&settings).await;
    let (_connection, channel) = stranger(&settings).await;
    let mut death = lapin::types::FieldTable::default();
    for (name, value) in [("queue", "mine"), ("reason", "expired")] {
        death.insert(name.into(), lapin::types::AMQPValue::LongString(value.into()));
    }
    let deaths = vec![lapin::types::AMQPValue::FieldTable(death)];
    let mut headers = lapin::types::FieldTable::default();
    headers.insert("x-death".into(), lapin::types::AMQPValue::FieldArray(deaths.into()));
    let properties = lapin::BasicProperties::default().with_headers(headers);
    let exchange = rabbit.topology().commands();
    drop(
        channel
            .basic_publish(
                exchange.as_str().into(),
                "stock".into(),
                Default::default(),
                b"forged",
                properties,
            )
            .await
            .expect("written"),
    );
    let mut consumer = rabbit.consume(stock(), 1);
    assert_eq!(take(&mut consumer, 1).await[0].death, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_the_broker_forgot_is_set_up_again() {
    let settings = settings("forgotten");
    let rabbit = connect(&settings).await;
    let mut consumer = rabbit.consume(stock(), 10);
    rabbit.publish(vec![command("before")]).await.expect("published");
    take(&mut consumer, 1).await.remove(0).ack.ack();
    let queue = rabbit.topology().queue(&stock());
    let (_connection, channel) = stranger(&settings).await;
    let options = QueueDeleteOptions::default();
    channel.queue_delete(queue.as_str().into(), options).await.expect("deleted");
    // The queue is back within milliseconds. RabbitMQ 3.10 then does not notify the consumer.
    RabbitMq::setup(settings.clone()).await.expect("declared again");
    rabbit.publish(vec![command("after")]).await.expect("published");
    assert_eq!(id(&take(&mut consumer, 1).await[0]), "after");
}
