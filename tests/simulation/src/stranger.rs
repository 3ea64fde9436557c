//! Strangers: they send messages that nobody can handle, and a watermark that nobody may believe.
//! Somebody waits for the end of a saga whose row does not decode.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use saga_core::{CommandId, Direction, Failure, SagaId, Watermark};
use saga_messaging::{Body, CommandBody, Envelope, Message, Queue, Route, parcel};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tokio::time::{sleep, timeout};

use crate::{broker::DEPLOYMENT, clients::orchestrator, faults::Fault, world::World};

/// The services whose queues strangers know.
const SERVICES: [&str; 3] = ["order", "inventory", "payment"];
/// Number of messages that strangers send.
const MESSAGES: usize = 4;
/// Time after which a client that waits asks another orchestrator.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends messages until all are sent.
pub(crate) async fn stranger(world: Arc<World>) {
    for number in 0..MESSAGES {
        sleep(world.sim.dice.millis(0..=5_000)).await;
        world.sim.count(Fault::Stranger);
        let service = *world.sim.dice.pick(&SERVICES);
        if number % 2 == 0 {
            unknown_command(&world, service);
        } else {
            nonsense(&world, service, number);
        }
    }
}

/// Sends a command that no service takes. Its watermark says that everything that has begun until
/// now has ended.
fn unknown_command(world: &World, service: &'static str) {
    let saga = SagaId(world.sim.uuid());
    let id = CommandId { saga, step: "burn".to_owned(), direction: Direction::Action };
    let envelope = Envelope {
        id: id.clone(),
        source: "saga/stranger".to_owned(),
        type_name: "saga.stranger.v1.Burn".to_owned(),
        time: None,
        traceparent: None,
        data: RawValue::from_string("{}".to_owned()).expect("JSON"),
        body: Body::Command(CommandBody {
            attempt: 1,
            sequence: 1,
            definition: "stranger".to_owned(),
            definition_version: 1,
            watermark: Some(Watermark::at(world.checks.saga_clock())),
        }),
    };
    world.checks.poisoned(id.to_string());
    for (_, body) in parcel::write(&[envelope]) {
        send(world, service, id.to_string(), body.into());
    }
}

/// Sends a body that cannot be read.
fn nonsense(world: &World, service: &'static str, number: usize) {
    let body = Bytes::from(format!("nonsense {number}"));
    let id = Sha256::digest(&body)[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    world.checks.poisoned(id);
    send(world, service, format!("message-{number}"), body);
}

fn send(world: &World, service: &'static str, id: String, body: Bytes) {
    let route = Route::Command { participant: service.to_owned() };
    let queue = Queue::Commands { participant: service.to_owned() };
    let reply_to = Some(DEPLOYMENT.to_owned());
    let message = Message { reply_to, ..Message::parcel(route, id, body) };
    world.broker.put(&queue, message, Duration::ZERO);
}

/// Waits for a saga's end at one orchestrator after the other.
pub(crate) async fn wait_for(world: &World, id: SagaId) {
    loop {
        let mut watched = orchestrator(world).await.watches.watch(id);
        let told = async {
            while watched.seen().end.is_none() {
                watched.changed().await;
            }
        };
        if timeout(PATIENCE, told).await.is_ok() {
            return;
        }
    }
}

/// Waits at every orchestrator for a saga that a newer binary has ended in a form that this one
/// cannot read.
pub(crate) async fn wait_for_unreadable(world: Arc<World>) {
    let id = SagaId(world.sim.uuid());
    if let Err(failure) = write_unreadable(&world, id).await {
        world.sim.violated(format!("a row cannot be written: {failure}"));
    }
    loop {
        let watched: Vec<_> = world.orchestrators().map(|o| o.watches.watch(id)).collect();
        sleep(PATIENCE).await;
        drop(watched);
    }
}

async fn write_unreadable(world: &World, id: SagaId) -> Result<(), Failure> {
    let tx = world.databases.orchestrator.begin().await?;
    let sql = "INSERT INTO sagas (id, format, definition, definition_version, caller, state,
                   version, progress, data, started_at, deadline, ended_at)
               VALUES (?1, 99, 'newer', 1, 'ada', 3, 1, '{}', '{}', 0, 0, 0)";
    tx.execute(sql, [id.0]).map_err(saga_sqlite::failure)?;
    tx.commit()
}

/// Deletes the row that cannot be read, before the audit counts.
pub(crate) async fn delete_unreadable(world: &World) {
    let deleted = world
        .databases
        .orchestrator
        .write(|tx| tx.execute("DELETE FROM sagas WHERE definition = 'newer'", []));
    if let Err(failure) = deleted.await {
        world.sim.violated(format!("a row cannot be deleted: {failure}"));
    }
}
