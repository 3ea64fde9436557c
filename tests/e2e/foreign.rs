//! A participant that is not written in Rust: examples/python/shipping.py joins a saga that exists
//! only in this test. It is killed while it works and receives every command twice, and each
//! effect still happens once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use saga_core::{Admitted, Ended, Hosted, Saga as _, SagaId};
use saga_engine::{Engine, Handle, IdempotencyKey, NewSaga, SagaReads as _};
use saga_postgres::PoolSettings;
use saga_rabbitmq::RabbitMq;
use saga_store::postgres::{MIGRATIONS, SagaTable};
use saga_test_support::{
    Servers,
    amqp::{Listener, RawMessage, publish},
    process::{Launch, Spawned},
};
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use crate::delivery::{Delivery, Fate, delivery, fate, parcels};

/// The number of sagas, and the number of times that the participant is killed meanwhile.
const SAGAS: usize = 300;
const KILLS: u32 = 5;
/// The room in the north depot; the other depot has none.
const NORTH: i64 = 5_000;
const REST: Duration = Duration::from_secs(120);
/// A participant that logs nothing new for this long counts as dead.
const STALL: Duration = Duration::from_secs(30);

/// The Python participant, and an engine in this process that drives its sagas.
struct World {
    amqp: String,
    prefix: String,
    store: SagaTable,
    pool: saga_postgres::Pool,
    handle: Handle,
    python: Launch,
    process: Option<Spawned>,
    dir: tempfile::TempDir,
    _stop: DropGuard,
}

impl World {
    async fn start() -> anyhow::Result<Self> {
        let (amqp, database) = tokio::task::spawn_blocking(|| {
            (Servers::shared().amqp_url(), Servers::shared().fresh_database("foreign"))
        })
        .await?;
        let prefix = Servers::shared().fresh_prefix("foreign");
        let settings = PoolSettings { application: "foreign-test".into(), max_connections: 8 };
        let pool = saga_postgres::connect(&database, &settings).await?;
        saga_postgres::migrate(&pool, &[&MIGRATIONS]).await?;
        let transport = RabbitMq::connect(saga_rabbitmq::Settings {
            prefix: prefix.clone(),
            participants: vec!["shipping".to_owned()],
            // The name of the exchange in the Python participant.
            events: "shop.events".to_owned(),
            ..saga_rabbitmq::Settings::new(amqp.clone(), "foreign test")
        })
        .await?;
        let store = SagaTable::new(pool.clone());
        let hosted = Hosted::default().with(Delivery::steps().with_step_timeout(1_000));
        let (engine, handle) = Engine::new(store.clone(), transport, hosted);
        let stop = CancellationToken::new();
        tokio::spawn(engine.run(stop.clone()));
        let dir = tempfile::tempdir()?;
        let python = python(&amqp, &prefix, dir.path())?;
        let process = Some(Spawned::start(&python)?);
        let _stop = stop.drop_guard();
        Ok(Self { amqp, prefix, store, pool, handle, python, process, dir, _stop })
    }

    /// Begins all sagas and returns their ids, in order.
    async fn place(&self) -> anyhow::Result<Vec<SagaId>> {
        let placing = (0..SAGAS).map(|n| {
            let id = SagaId(Uuid::now_v7());
            let key = IdempotencyKey {
                caller: "test".to_owned(),
                method: "Deliver",
                key: n.to_string(),
                payload_hash: vec![0],
                saga: id,
            };
            let admitted =
                Admitted { caller: "test".into(), deadline_millis: 100_000, traceparent: None };
            let new = NewSaga::of(key, &delivery(n), admitted);
            let requests = self.handle.requests.clone();
            async move {
                requests.place(new).await?;
                anyhow::Ok(id)
            }
        });
        try_join_all(placing).await
    }

    /// Kills the participant, and starts it again a little later.
    async fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().context("it runs")?.kill9()?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.process = Some(Spawned::start(&self.python)?);
        Ok(())
    }

    async fn wait_until_all_have_ended(&self) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + REST;
        while self.store.in_flight().await? > 0 {
            ensure!(tokio::time::Instant::now() < deadline, "sagas still run\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.python.log_dir.join("shipping.log")).unwrap_or_default()
    }

    fn said(&self, what: &[&str]) -> usize {
        let starts = |line: &&str| what.iter().any(|what| line.starts_with(what));
        self.log().lines().filter(starts).count()
    }

    fn command(&self, body: String, reply_to: &str) -> RawMessage {
        RawMessage {
            exchange: format!("{}saga.commands", self.prefix),
            key: "shipping".to_owned(),
            body: body.into_bytes(),
            reply_to: Some(reply_to.to_owned()),
            persistent: true,
            ..RawMessage::default()
        }
    }

    async fn listen(&self, exchange: &str, key: &str) -> anyhow::Result<Listener> {
        Listener::bind(&self.amqp, &format!("{}{exchange}", self.prefix), &[key]).await
    }

    /// Waits until the log has `times` of these lines. Progress may be slow, but must not stall.
    async fn wait_until_said(&self, what: &[&str], times: usize) -> anyhow::Result<()> {
        let (mut said, mut since) = (0, tokio::time::Instant::now());
        while said < times {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = self.said(what);
            if now > said {
                (said, since) = (now, tokio::time::Instant::now());
            }
            ensure!(since.elapsed() < STALL, "{said} of {times} times {what:?}\n{}", self.log());
        }
        Ok(())
    }

    /// Queries the participant's database from outside.
    fn query<T: rusqlite::types::FromSql>(&self, sql: &str) -> anyhow::Result<Vec<T>> {
        let database = rusqlite::Connection::open(self.dir.path().join("shipping.sqlite"))?;
        let mut statement = database.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn python(amqp: &str, prefix: &str, dir: &Path) -> anyhow::Result<Launch> {
    let database = dir.join("shipping.sqlite").display().to_string();
    let north = format!("north={NORTH}");
    let broker = ["--amqp", amqp, "--prefix", prefix];
    let rest = ["--database", &database, "--depot", &north, "--depot", "south=0"];
    crate::python::launch("shipping.py", &[&broker[..], &rest[..]].concat(), dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_in_python_has_each_effect_once_through_kills_and_repetitions()
-> anyhow::Result<()> {
    let mut world = World::start().await?;
    let events = world.listen("shop.events", "#").await?;
    let commands = tap(world.listen("saga.commands", "shipping").await?);
    let ids = world.place().await?;
    for kill in 0..KILLS {
        // Each kill waits for progress, so that it meets a participant at work.
        let least = SAGAS * (kill as usize + 1) / 8;
        world.wait_until_said(&["run: "], least).await?;
        world.kill().await?;
    }
    world.wait_until_all_have_ended().await?;
    each_effect_happened_once(&world, &ids).await?;
    ensure!(world.said(&["taken apart: "]) > 0, "no parcel came again: the kills proved nothing");

    // Sends every command again, the last one first.
    let tapped = std::mem::take(&mut *commands.lock().expect("nobody panics"));
    let distinct: BTreeMap<String, Value> =
        members(&tapped)?.into_iter().map(|member| (member["id"].to_string(), member)).collect();
    let again: Vec<Value> = distinct.into_values().rev().collect();
    ensure!(again.len() >= SAGAS * 2, "only {} commands were tapped", again.len());
    let parcels = again.chunks(50).map(|chunk| Value::from(chunk.to_vec()).to_string());
    let parcels: Vec<RawMessage> = parcels.map(|p| world.command(p, "orchestrator")).collect();
    // An action that was undone in the meantime is too late.
    let answers = ["repeat: ", "too late: "];
    let all = world.said(&answers) + again.len();
    publish(&world.amqp, &parcels).await?;
    world.wait_until_said(&answers, all).await?;
    each_effect_happened_once(&world, &ids).await?;
    each_event_says_one_thing(&events, &ids).await?;
    a_compensation_without_its_action_leaves_a_tombstone(&world).await?;
    poison_takes_no_neighbour_with_it(&world, &again[0]).await?;
    let process = world.process.take().context("it runs")?;
    ensure!(process.terminate(Duration::from_secs(10))?.was_clean(), "{}", world.log());
    Ok(())
}

/// Taps a queue continuously, because a waiting command would expire in our queue too.
fn tap(listener: Listener) -> Arc<Mutex<Vec<RawMessage>>> {
    let tapped = Arc::new(Mutex::new(Vec::new()));
    listener.collect(Arc::clone(&tapped));
    tapped
}

/// Returns every command in these parcels.
fn members(parcels: &[RawMessage]) -> anyhow::Result<Vec<Value>> {
    let mut members = Vec::new();
    for parcel in parcels {
        members.extend(serde_json::from_slice::<Vec<Value>>(&parcel.body)?);
    }
    Ok(members)
}

/// Checks that the sagas ended as they must and that the participant's own tables add up.
async fn each_effect_happened_once(world: &World, ids: &[SagaId]) -> anyhow::Result<()> {
    let sagas = world.store.find(ids).await?;
    let ends: BTreeMap<SagaId, Option<Ended>> = sagas.iter().map(|s| (s.id, s.ended())).collect();
    let mut gone = 0;
    for (n, id) in ids.iter().enumerate() {
        let (end, state) = match fate(n) {
            Fate::Dispatched => (Ended::Completed, Some("dispatched")),
            Fate::Undone => (Ended::Compensated, Some("cancelled")),
            Fate::Refused => (Ended::Compensated, None),
        };
        gone += if end == Ended::Completed { i64::from(parcels(n)) } else { 0 };
        ensure!(ends[id] == Some(end), "saga {n}: {:?}", ends[id]);
        let states: Vec<String> =
            world.query(&format!("SELECT state FROM shipments WHERE saga = '{id}'"))?;
        let found = states.first().map(String::as_str);
        ensure!(found == state, "shipment {n}: {found:?}, not {state:?}");
    }
    // The participant adds to and subtracts from these counters, so a repeated effect would show.
    for (column, expected) in [("free", NORTH - gone), ("booked", 0), ("gone", gone)] {
        let sql = format!("SELECT {column} FROM depots WHERE name = 'north'");
        ensure!(world.query::<i64>(&sql)? == [expected], "{column} is not {expected}");
    }
    Ok(())
}

/// Checks that an event that comes again has the same text, and that each saga has all its events.
async fn each_event_says_one_thing(events: &Listener, ids: &[SagaId]) -> anyhow::Result<()> {
    let mut heard: BTreeMap<String, (String, Value)> = BTreeMap::new();
    while let Some(message) = events.take().await? {
        let event: Value = serde_json::from_slice(&message.body)?;
        let id = event["id"].as_str().context("an event without an id")?.to_owned();
        let first = heard.entry(id).or_insert_with(|| (message.key.clone(), event.clone()));
        ensure!(*first == (message.key, event.clone()), "{first:?} is now {event}");
    }
    for (n, id) in ids.iter().enumerate() {
        let expected = match fate(n) {
            Fate::Refused => BTreeSet::new(),
            Fate::Undone => BTreeSet::from(["shipment.booked", "shipment.cancelled"]),
            Fate::Dispatched => BTreeSet::from(["shipment.booked", "shipment.dispatched"]),
        };
        let of_saga = heard.range(format!("{id}/")..format!("{id}0"));
        let keys: BTreeSet<&str> = of_saga.map(|(_, (key, _))| key.as_str()).collect();
        ensure!(keys == expected, "saga {n}: {keys:?}, not {expected:?}");
    }
    Ok(())
}

async fn a_compensation_without_its_action_leaves_a_tombstone(world: &World) -> anyhow::Result<()> {
    let answers = world.listen("saga.replies.shipping", "stranger").await?;
    let saga = Uuid::now_v7();
    let cancel = member(saga, "compensation", "CancelShipment", "{}");
    let book = member(saga, "action", "BookShipment", r#"{"depot":"north","parcels":1}"#);
    for (command, outcome) in [(cancel, "done"), (book, "toolate")] {
        publish(&world.amqp, &[world.command(format!("[{command}]"), "stranger")]).await?;
        let reply = saga_test_support::eventually("an answer", REST, async || {
            answers.take().await.ok().flatten()
        })
        .await;
        let reply: Value = serde_json::from_slice(&reply.body)?;
        ensure!(reply[0]["outcome"] == outcome, "{reply}");
    }
    let shipments = format!("SELECT state FROM shipments WHERE saga = '{saga}'");
    ensure!(world.query::<String>(&shipments)?.is_empty(), "a late action had an effect");
    Ok(())
}

async fn poison_takes_no_neighbour_with_it(world: &World, known: &Value) -> anyhow::Result<()> {
    let answers = world.listen("saga.replies.shipping", "stranger").await?;
    let mut conflict = known.clone();
    conflict["data"]["later"] = Value::from("another payload");
    let unknown = member(Uuid::now_v7(), "action", "BurnShipment", "{}");
    let good = member(Uuid::now_v7(), "action", "BookShipment", r#"{"depot":"south","parcels":1}"#);
    let parcel = format!("[{conflict},{unknown},{good}]");
    publish(&world.amqp, &[world.command(parcel, "stranger")]).await?;
    let reply = saga_test_support::eventually("the good one's answer", REST, async || {
        answers.take().await.ok().flatten()
    })
    .await;
    let replies: Vec<Value> = serde_json::from_slice(&reply.body)?;
    ensure!(replies.len() == 1 && replies[0]["outcome"] == "refused", "{replies:?}");
    for (id, why) in [
        (&conflict["id"], "another payload"),
        (&serde_json::from_str::<Value>(&unknown)?["id"], "takes no"),
    ] {
        let id = id.as_str().context("it has an id")?;
        saga_test_support::eventually("the quarantine's row", REST, async || {
            let reason: Option<String> =
                sqlx::query_scalar("SELECT reason FROM quarantine WHERE id = $1")
                    .bind(id)
                    .fetch_optional(&world.pool)
                    .await
                    .ok()?;
            reason.filter(|reason| reason.contains(why))
        })
        .await;
    }
    Ok(())
}

/// Creates a command that does not come from the orchestrator.
fn member(saga: Uuid, direction: &str, command: &str, data: &str) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{saga}/book-shipment/{direction}","source":"stranger","type":"shop.shipping.v1.{command}","subject":"{saga}","attempt":1,"sequence":"0001","definition":"delivery","definitionversion":1,"data":{data}}}"#
    )
}
