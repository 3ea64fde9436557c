//! The event consumer of examples/python is killed under load and receives everything again, last
//! events first. In the end its projection agrees with the services' databases.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use saga_rabbitmq::Settings;
use saga_test_support::{
    RabbitMq,
    amqp::{Listener, RawMessage, publish},
    eventually, free_port,
    proxy::{Mode, Proxy},
    system::Role,
};
use serde_json::{Map, Value, json};
use sqlx::{PgPool, Row as _};

use crate::{
    audit::Audit,
    load::{Load, expected},
    orders::{mixed_sku, mixed_token},
    python,
    returning::give_back,
    system::{ONE_OF_EACH, System, with_system},
};

/// The number of kills, and the number of events that are applied before each, so that each kill
/// interrupts work.
const KILLS: usize = 6;
const EVENTS_BETWEEN_KILLS: u64 = 100;
/// Enough orders for these kills: each order has at least three events.
const ORDERS: usize = 600;
/// How long the consumer may make no progress; Python starts slowly on a busy machine.
const STALL: Duration = Duration::from_secs(60);
const REST: Duration = Duration::from_secs(240);

/// The consumer's process.
struct Projection(Role);

impl Projection {
    /// Starts the consumer and waits until its queue is bound, so that it misses no later event.
    async fn start(amqp: &str, prefix: &str, dir: &Path) -> anyhow::Result<Self> {
        let database = dir.join("projection.sqlite").display().to_string();
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let broker = ["--amqp-url", amqp, "--prefix", prefix];
        let rest = ["--database", &database, "--listen", &listen];
        let launch = python::launch("projection.py", &[&broker[..], &rest[..]].concat(), dir)?;
        let projection = Self(Role::new(launch, port));
        projection.0.start().await?;
        projection.wait_until("it consumes", async |it| it.consumes(true).await).await?;
        Ok(projection)
    }

    /// Returns whether `/health` answers, with success (`wanted`) or with failure (not `wanted`).
    async fn consumes(&self, wanted: bool) -> bool {
        let answer = reqwest::get(format!("{}/health", self.0.url())).await;
        answer.is_ok_and(|answer| answer.status().is_success() == wanted)
    }

    /// Returns the current projection, or nothing while the consumer is starting.
    async fn shown(&self) -> Option<Value> {
        let answer = reqwest::get(format!("{}/projection.json", self.0.url())).await.ok()?;
        serde_json::from_slice(&answer.bytes().await.ok()?).ok()
    }

    /// Returns the number of messages with these verdicts, or 0 while the consumer does not answer.
    async fn counted(&self, verdicts: &[&str]) -> u64 {
        let shown = self.shown().await.unwrap_or_default();
        verdicts.iter().filter_map(|verdict| shown["messages"][verdict].as_u64()).sum()
    }

    async fn wait_until(
        &self,
        what: &str,
        condition: impl AsyncFn(&Self) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = tokio::time::Instant::now() + STALL;
        while !condition(self).await {
            let shown = self.shown().await;
            ensure!(
                tokio::time::Instant::now() < deadline,
                "not: {what}: {shown:?}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn wait_until_counted(&self, verdicts: &[&str], least: u64) -> anyhow::Result<()> {
        let what = format!("{least} messages are {verdicts:?}");
        self.wait_until(&what, async |it| it.counted(verdicts).await >= least).await
    }

    /// Waits until the projection equals `books`, which come from the services' databases.
    async fn wait_until_it_is(&self, books: &Value) -> anyhow::Result<()> {
        let waited = self.wait_until("it shows the books", async |it| {
            it.shown().await.is_some_and(|shown| without_messages(shown) == *books)
        });
        waited.await.with_context(|| format!("the books: {books}"))
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.0.log_file()).unwrap_or_default()
    }
}

/// Removes the message counts, which depend on kills and repetitions.
fn without_messages(mut shown: Value) -> Value {
    shown.as_object_mut().and_then(|shown| shown.remove("messages"));
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn the_projection_is_the_books_whatever_is_killed_and_repeated() -> anyhow::Result<()> {
    with_system(ONE_OF_EACH, &[], is_the_books).await
}

async fn is_the_books(system: &System) -> anyhow::Result<()> {
    let (broker, prefix) = (system.amqp_url(), system.prefix());
    let (postgres, rabbitmq) = system.ports()?;
    let way = Proxy::start(rabbitmq).await?;
    let detour = &system.through(postgres, way.port)["SAGA_AMQP_URL"];
    let projection = Projection::start(detour, prefix, system.dir()).await?;
    let events = Listener::bind(broker, &format!("{prefix}shop.events"), &["#"]).await?;
    for (sku, quantity) in [("teapot", 100_000), ("cup", 100_000), ("rare", 1)] {
        system.stock(sku, quantity).await?;
    }
    let load = Load {
        orders: ORDERS,
        clients: 40,
        name: "projection".to_owned(),
        token: mixed_token,
        sku: mixed_sku,
        pace: Duration::from_millis(200),
    };
    let channel = system.channel("orchestrator-1")?;
    let placing = tokio::spawn({
        let channel = channel.clone();
        async move { load.run(vec![channel]).await }
    });
    for _ in 0..KILLS {
        let applied = projection.counted(&["applied"]).await;
        projection.wait_until_counted(&["applied"], applied + EVENTS_BETWEEN_KILLS).await?;
        // From here on the consumer commits, but cannot acknowledge.
        way.set(Mode::Deaf);
        let applied = projection.counted(&["applied"]).await;
        projection.wait_until_counted(&["applied"], applied + 1).await?;
        projection.0.kill()?;
        way.set(Mode::Open);
        projection.0.start().await?;
        projection.wait_until("it consumes again", async |it| it.consumes(true).await).await?;
    }
    let placed = placing.await??;
    let audit = Audit::open(system).await?;
    audit.wait_until_quiet(REST).await?;
    let confirmed = placed.iter().filter(|order| expected(order).1.is_empty());
    for order in confirmed.step_by(10) {
        give_back(channel.clone(), order.order_id.clone()).await?;
    }
    audit.wait_until_quiet(REST).await?;
    let books = books(&audit).await?;
    projection.wait_until_it_is(&books).await?;
    let repeated = projection.counted(&["repeated"]).await;
    ensure!(repeated >= KILLS as u64, "{repeated} repeats: the kills proved nothing");
    for (what, count) in [("orders", "REJECTED"), ("returns", "DONE")] {
        ensure!(books[what][count].as_u64() > Some(0), "the books prove little: {books}");
    }
    everything_once_more(&projection, &events, broker).await?;
    projection.wait_until_it_is(&books).await
}

/// Sends every event again, the last one first, and among them some messages that are not events.
async fn everything_once_more(
    projection: &Projection,
    events: &Listener,
    broker: &str,
) -> anyhow::Result<()> {
    let mut heard = Vec::new();
    while let Some(event) = events.take().await? {
        heard.push(event);
    }
    ensure!(heard.len() > ORDERS * 3, "only {} events", heard.len());
    let last = heard.last().cloned().context("an event")?;
    let mut unknown: Value = serde_json::from_slice(&last.body)?;
    unknown["type"] = json!("shop.shipping.v1.ShipmentBooked");
    let unknown = RawMessage { body: unknown.to_string().into_bytes(), ..last.clone() };
    let malformed = RawMessage { body: b"{".to_vec(), ..last };
    let repeats = heard.len() as u64;
    let mut all = vec![malformed.clone(), unknown.clone()];
    all.extend(heard.into_iter().rev());
    all.extend([unknown, malformed]);
    let before = projection.counted(&["repeated"]).await;
    publish(broker, &all).await?;
    projection.wait_until_counted(&["repeated"], before + repeats).await?;
    projection.wait_until_counted(&["malformed"], 2).await?;
    projection.wait_until_counted(&["unknown"], 2).await
}

/// Computes the expected projection from the services' own databases.
async fn books(audit: &Audit) -> anyhow::Result<Value> {
    let orders = counts(
        &audit.order,
        "SELECT state, (SELECT count(*) FROM orders WHERE status = nr)
         FROM unnest(ARRAY['PENDING', 'CONFIRMED', 'REJECTED', 'CANCELLED'])
              WITH ORDINALITY AS states (state, nr)",
    )
    .await?;
    let returns = counts(
        &audit.order,
        "SELECT state, (SELECT count(*) FROM returns r WHERE r.state = nr)
         FROM unnest(ARRAY['OPEN', 'DONE', 'REJECTED']) WITH ORDINALITY AS states (state, nr)",
    )
    .await?;
    let sold = sqlx::query(
        "SELECT sku, currency, sum(quantity)::bigint, sum(returned)::bigint,
                sum(quantity * unit_price)::bigint, sum(returned * unit_price)::bigint
         FROM order_lines JOIN orders USING (order_id) WHERE status = 2
         GROUP BY sku, currency ORDER BY sku, currency",
    );
    // The sold goods come from the inventory's own tables.
    let gone = counts(&audit.inventory, "SELECT sku, sold FROM products").await?;
    let mut products = Vec::new();
    for row in sold.fetch_all(&audit.order).await? {
        let (sku, currency): (String, String) = (row.get(0), row.get(1));
        let [pieces, back, paid, given] = [2, 3, 4, 5].map(|n| row.get::<i64, _>(n));
        products.push(json!({
            "sku": sku,
            "currency": currency,
            "pieces": {"sold": pieces, "returned": back, "net": gone[&sku]},
            "minorUnits": {"sold": paid, "returned": given, "net": paid - given},
        }));
    }
    let paid = sqlx::query(
        "SELECT currency, coalesce(sum(amount) FILTER (WHERE kind = 'captured'), 0)::bigint,
                coalesce(sum(amount) FILTER (WHERE kind = 'refunded'), 0)::bigint
         FROM payment_ledger WHERE kind IN ('captured', 'refunded')
         GROUP BY currency ORDER BY currency",
    );
    let money: Vec<Value> = paid
        .fetch_all(&audit.payment)
        .await?
        .iter()
        .map(|row| {
            let (captured, refunded): (i64, i64) = (row.get(1), row.get(2));
            json!({
                "currency": row.get::<String, _>(0),
                "captured": captured,
                "refunded": refunded,
                "net": captured - refunded,
            })
        })
        .collect();
    Ok(json!({
        "orders": orders,
        "returns": returns,
        "inProgressAfter": {},
        "products": products,
        "money": money,
        "stuck": [],
    }))
}

/// Runs a query for names and numbers, and returns them as an object.
async fn counts(pool: &PgPool, query: &'static str) -> anyhow::Result<Map<String, Value>> {
    let rows = sqlx::query(query).fetch_all(pool).await?;
    Ok(rows.iter().map(|row| (row.get(0), json!(row.get::<i64, _>(1)))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_projection_outlives_its_broker_with_no_more_rights_than_a_consumer_has()
-> anyhow::Result<()> {
    let broker = tokio::task::block_in_place(RabbitMq::start)?;
    tokio::task::block_in_place(|| broker.load_deployed_definitions())?;
    let dir = tempfile::tempdir()?;
    let url = broker.deployed_url("setup")?;
    let participants = ["order", "inventory", "payment"].map(str::to_owned).to_vec();
    saga_rabbitmq::RabbitMq::setup(Settings {
        participants,
        events: "shop.events".to_owned(),
        ..Settings::new(url, "saga setup")
    })
    .await?;
    let projection = Projection::start(&broker.deployed_url("consumer")?, "", dir.path()).await?;
    let service = broker.deployed_url("order")?;
    publish(&service, &[of_order("OrderPlaced", "order.placed", 1)]).await?;
    projection.wait_until_counted(&["applied"], 1).await?;
    // RabbitMQ writes down its queues only now and then. If it is killed within a moment of a
    // queue's declaration, it does not serve that queue again (seen on 3.10, each time).
    tokio::time::sleep(Duration::from_secs(5)).await;
    broker.kill9()?;
    projection.wait_until("it says so", async |it| it.consumes(false).await).await?;
    tokio::task::block_in_place(|| broker.restart())?;
    // The queue is durable, so events that come while the consumer is away wait in it. The broker
    // may refuse events while its queues come back, so the test, like a service, tries again.
    let cancelled = [of_order("OrderCancelled", "order.cancelled", 12)];
    eventually("the broker takes an event", STALL, async || {
        let taken = tokio::time::timeout(Duration::from_secs(2), publish(&service, &cancelled));
        taken.await.ok()?.ok()
    })
    .await;
    projection.wait_until_counted(&["applied"], 2).await?;
    let shown = projection.shown().await.context("it is up")?;
    ensure!(shown["orders"]["CANCELLED"] == 1 && shown["orders"]["PENDING"] == 0, "{shown}");
    Ok(())
}

/// Creates an event of an order, as the order service sends it.
fn of_order(name: &str, key: &str, sequence: u32) -> RawMessage {
    let event = json!({
        "specversion": "1.0",
        "id": format!("o-1/{sequence}"),
        "source": "saga/order",
        "type": format!("saga.order.v1.{name}"),
        "subject": "o-1",
        "sequence": format!("{sequence:04}"),
        "data": {"orderId": "o-1"},
    });
    RawMessage {
        exchange: "shop.events".to_owned(),
        key: key.to_owned(),
        body: event.to_string().into_bytes(),
        persistent: true,
        content_type: Some("application/cloudevents+json".to_owned()),
        ..RawMessage::default()
    }
}
