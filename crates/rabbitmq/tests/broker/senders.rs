//! Who may say what at a broker with the users of `deploy/rabbitmq/definitions.json`: attacks with
//! the credential of each party, and what the adapter says of the sender.

use lapin::{BasicProperties, Channel, ErrorKind, options::BasicPublishOptions};
use saga_messaging::{Message, Queue, Route, Sender, Transport as _};
use saga_rabbitmq::{RabbitMq, Settings, Users};

use crate::{
    permissions::{bind, deployed, get, login, publish, refused},
    setup::SOON,
};

const PARTIES: [&str; 4] = ["orchestrator", "order", "inventory", "payment"];

/// Returns each exchange with the one party that may write to it, if any.
fn exchanges() -> Vec<(String, Option<&'static str>)> {
    let orchestrators = ["saga.commands", "saga.replies", "saga.quarantine.orchestrator"];
    let orchestrators = orchestrators.map(|name| (name.to_owned(), Some("orchestrator")));
    let participants = PARTIES[1..].iter().flat_map(|participant| {
        let own = |kind: &str| (format!("saga.{kind}.{participant}"), Some(*participant));
        ["again", "replies", "quarantine"].map(own)
    });
    let nobodys = [("saga.quarantine".to_owned(), None), (String::new(), None)];
    orchestrators.into_iter().chain(participants).chain(nobodys).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_party_may_write_to_its_own_exchanges_and_to_no_other() {
    let broker = deployed().await;
    for user in PARTIES {
        let connection = login(&broker, user).await;
        for (exchange, owner) in exchanges() {
            // By the default exchange straight into the queue that would hurt most.
            let key = if exchange.is_empty() { "saga.commands.payment" } else { "none" };
            if owner == Some(user) {
                let channel = connection.create_channel().await.expect("a channel");
                publish(&channel, &exchange, key).await.expect("its own exchange");
            } else {
                let what = format!("{user} publish to {exchange:?}");
                refused(&connection, &what, async |c| publish(c, &exchange, key).await).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_hears_and_says_nothing_but_its_own() {
    let broker = deployed().await;
    for user in &PARTIES[1..] {
        let connection = login(&broker, user).await;
        let others = PARTIES[1..].iter().filter(|other| *other != user);
        let queues = others.map(|other| format!("saga.commands.{other}"));
        for queue in queues.chain(["saga.replies", "saga.quarantine"].map(str::to_owned)) {
            refused(&connection, "read a queue", async |c| get(c, &queue).await.map(drop)).await;
        }
        let own = format!("saga.commands.{user}");
        let channel = connection.create_channel().await.expect("a channel");
        get(&channel, &own).await.expect("it may read its own");
        for exchange in ["saga.commands", "saga.replies", "shop.events"] {
            refused(&connection, "bind", async |c| bind(c, &own, exchange, "payment").await).await;
        }
        // Hints name every saga and its version. Only orchestrators hear and say them.
        refused(&connection, "declare a queue", async |c| {
            let (options, none) =
                (lapin::options::QueueDeclareOptions::default(), Default::default());
            c.queue_declare("".into(), options, none).await.map(drop)
        })
        .await;
    }
}

async fn publish_as(
    channel: &Channel,
    exchange: &str,
    key: &str,
    user: Option<&str>,
) -> lapin::Result<()> {
    channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await?;
    let mut properties = BasicProperties::default();
    if let Some(user) = user {
        properties = properties.with_user_id(user.into());
    }
    let options = BasicPublishOptions::default();
    channel.basic_publish(exchange.into(), key.into(), options, b"[]", properties).await?.await?;
    Ok(())
}

async fn connect(broker: &saga_test_support::RabbitMq, user: &str) -> RabbitMq {
    let url = broker.deployed_url(user).expect("its secret");
    let settings = Settings {
        participants: PARTIES[1..].iter().map(|name| (*name).to_owned()).collect(),
        events: "shop.events".to_owned(),
        declares: false,
        hints: user == "orchestrator",
        users: Some(Users::default()),
        ..Settings::new(url, format!("saga {user}"))
    };
    tokio::time::timeout(SOON, RabbitMq::connect(settings)).await.expect("in time").expect("it may")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_says_who_sent_it_and_a_message_without_its_user_is_a_strangers() {
    let broker = deployed().await;
    let orchestrator = connect(&broker, "orchestrator").await;
    let mut replies = orchestrator.consume(Queue::Replies, 10);
    let order = connect(&broker, "order").await;
    let to = "orchestrator".to_owned();
    let route = Route::Reply { to: to.clone(), from: "order".to_owned() };
    let message = Message::parcel(route, "reply".to_owned(), "[]");
    order.publish(vec![message]).await.expect("its own exchange");
    let mut next = async || {
        let next = tokio::time::timeout(SOON, replies.next(1)).await.expect("in time").remove(0);
        next.ack.ack();
        next.sender
    };
    assert_eq!(next().await, Sender::Participant("order".to_owned()));

    let raw = login(&broker, "order").await;
    let channel = raw.create_channel().await.expect("a channel");
    publish_as(&channel, "saga.replies.order", &to, None).await.expect("published");
    assert_eq!(next().await, Sender::Stranger, "without a user");
    let lie = publish_as(&channel, "saga.replies.order", &to, Some("payment")).await;
    let code = match lie.expect_err("a false user").kind() {
        ErrorKind::ProtocolError(error) => error.get_id(),
        other => panic!("{other:?}"),
    };
    assert_eq!(code, 406, "the broker refuses a false user");

    let passing = Message::parcel(Route::OwnReplies, "passed on".to_owned(), "[]");
    orchestrator.publish(vec![passing]).await.expect("its own exchange");
    assert_eq!(next().await, Sender::Orchestrator);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_takes_apart_and_quarantines_in_its_own_name() {
    let broker = deployed().await;
    let orchestrator = connect(&broker, "orchestrator").await;
    let order = connect(&broker, "order").await;
    let own = Queue::Commands { participant: "order".to_owned() };
    let mut commands = order.consume(own.clone(), 10);
    let participant = "order".to_owned();
    let again = Route::Again { participant: participant.clone() };
    order.publish(vec![Message::parcel(again, "again".to_owned(), "[]")]).await.expect("its own");
    let command = Route::Command { participant: participant.clone() };
    let sent = Message::parcel(command, "command".to_owned(), "[]");
    orchestrator.publish(vec![sent]).await.expect("the orchestrator's own");
    let mut senders = Vec::new();
    while senders.len() < 2 {
        let taken = tokio::time::timeout(SOON, commands.next(2)).await.expect("in time");
        for delivery in taken {
            senders.push(delivery.sender.clone());
            delivery.ack.ack();
        }
    }
    senders.sort();
    assert_eq!(senders, [Sender::Orchestrator, Sender::Participant(participant.clone())]);

    let reason = "poison".to_owned();
    let route = Route::Quarantine { reason, from: own };
    order.publish(vec![Message::parcel(route, "poison".to_owned(), "x")]).await.expect("its own");
    let mut quarantine = orchestrator.consume(Queue::Quarantine, 1);
    let kept = tokio::time::timeout(SOON, quarantine.next(1)).await.expect("in time").remove(0);
    assert_eq!((kept.sender, kept.death), (Sender::Participant(participant), None));
}
