//! The payment service under test, with its own database and its own provider.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use saga_core::{CommandId, Direction, SagaId};
use saga_messaging::{Envelope, Outcome};
use saga_payment::{Availability, MIGRATIONS, Provider, ProviderSettings, participant};
use saga_postgres::{INBOX, Inbox, PoolSettings, connect, migrate};
use saga_proto::{
    Money,
    payment::v1::{AuthorisePayment, CapturePayment, RefundPayment, VoidAuthorisation},
};
use saga_taps::{Line, Reply, command};
use saga_test_support::Servers;
use serde_json::Value;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Time limit for every wait: longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
/// The delay of the provider's answer for the card `tok_slow`.
const SLOW: Duration = Duration::from_secs(3);
/// The price of an order in these tests, in cents.
pub(crate) const PRICE: i64 = 1_000;

/// The outcome of sending a command once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Became {
    Done(Value),
    Refused(String),
    TooLate,
    /// The delivery was acknowledged without an answer, so the saga would send the command again.
    Dropped,
}

/// Sends commands as one parcel, and returns their outcomes.
pub(crate) async fn send(line: &Line, commands: &[Envelope]) -> Vec<Became> {
    let replies = line.send(commands).await;
    let became = |command: &Envelope| {
        let reply = replies.iter().find(|reply| reply.id == command.id);
        reply.map_or(Became::Dropped, Became::of)
    };
    commands.iter().map(became).collect()
}

impl Became {
    fn of(reply: &Reply) -> Self {
        let data: Value = serde_json::from_str(&reply.data).expect("JSON");
        match reply.outcome {
            Outcome::Done => Self::Done(data),
            Outcome::Refused => Self::Refused(data["code"].as_str().expect("a code").to_owned()),
            Outcome::TooLate => Self::TooLate,
        }
    }
}

pub(crate) struct Shop {
    pub(crate) line: Line,
    pub(crate) pool: PgPool,
    pub(crate) client: Arc<Provider>,
    remote: SocketAddr,
    provider: Option<Running>,
    payment: Running,
    ledger: TempDir,
}

struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("in time").expect("no panic");
    }
}

impl Shop {
    /// Starts the service. Its client does not repeat requests after a lost connection, so that a
    /// lost answer stays lost until the command is sent again.
    pub(crate) async fn open(test: &str) -> Self {
        let url = Servers::shared().fresh_database(test);
        let settings = PoolSettings { application: "test".to_owned(), max_connections: 4 };
        let pool = connect(&url, &settings).await.expect("a database");
        migrate(&pool, &[&INBOX, &MIGRATIONS]).await.expect("a schema");

        let ledger = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let remote = listener.local_addr().expect("bound");
        let provider = Some(provide(&ledger, listener));
        let ours = ProviderSettings {
            retries: 0,
            timeout: PATIENCE,
            ..ProviderSettings::new(format!("http://{remote}"))
        };
        let client = Arc::new(Provider::new(ours).expect("sound settings"));
        let line = Line::to("payment");
        let payment = participant(Inbox::new(pool.clone()), Arc::clone(&client));
        let shutdown = CancellationToken::new();
        let payment = payment.run(line.transport(), Default::default(), shutdown.clone());
        let payment = Running { shutdown, task: tokio::spawn(payment) };
        Self { line, pool, client, remote, provider, payment, ledger }
    }

    pub(crate) async fn close(self) {
        self.payment.stop().await;
        if let Some(provider) = self.provider {
            provider.stop().await;
        }
        self.pool.close().await;
    }

    /// Stops the provider: nothing listens at its address any more.
    pub(crate) async fn provider_goes(&mut self) {
        self.provider.take().expect("it was there").stop().await;
    }

    /// Starts the provider again at its address, and waits until the breaker allows a call.
    pub(crate) async fn provider_returns(&mut self) {
        let listener = TcpListener::bind(self.remote).await.expect("its own port");
        self.provider = Some(provide(&self.ledger, listener));
        while let Availability::Open { remaining, .. } = self.client.availability() {
            tokio::time::sleep(remaining).await;
        }
    }

    pub(crate) async fn authorise(&self, order: SagaId, token: &str) -> Became {
        self.one(authorise(order, token)).await
    }

    pub(crate) async fn void(&self, order: SagaId) -> Became {
        let id = id(order, "authorise-payment", Direction::Compensation);
        self.one(command(id, &VoidAuthorisation {})).await
    }

    pub(crate) async fn capture(&self, order: SagaId) -> Became {
        let id = id(order, "capture-payment", Direction::Action);
        self.one(command(id, &CapturePayment {})).await
    }

    pub(crate) async fn refund(&self, saga: SagaId, order: SagaId, amount: i64) -> Became {
        self.one(refund(saga, order, amount)).await
    }

    pub(crate) async fn send(&self, commands: &[Envelope]) -> Vec<Became> {
        send(&self.line, commands).await
    }

    async fn one(&self, command: Envelope) -> Became {
        self.send(&[command]).await.remove(0)
    }

    /// Returns the status of an order's payment in the service's database.
    pub(crate) async fn status(&self, order: SagaId) -> Option<String> {
        sqlx::query_scalar("SELECT status FROM payments WHERE order_id = $1")
            .bind(order.0)
            .fetch_optional(&self.pool)
            .await
            .expect("a row")
    }

    /// Deletes all records of an order from the service's database, as a restored backup would.
    pub(crate) async fn forget(&self, order: SagaId) {
        for statement in [
            "DELETE FROM payment_ledger WHERE order_id = $1",
            "DELETE FROM payments WHERE order_id = $1",
            "DELETE FROM inbox WHERE saga_id = $1",
        ] {
            sqlx::query(statement).bind(order.0).execute(&self.pool).await.expect("deleted");
        }
    }

    /// Returns the kinds of an order's lines in the service's ledger.
    pub(crate) async fn ledger(&self, order: SagaId) -> Vec<String> {
        sqlx::query_scalar("SELECT kind FROM payment_ledger WHERE order_id = $1 ORDER BY at, kind")
            .bind(order.0)
            .fetch_all(&self.pool)
            .await
            .expect("rows")
    }

    /// Returns the payment of an order at the provider.
    pub(crate) async fn theirs(&self, order: SagaId) -> Option<Value> {
        let key = id(order, "authorise-payment", Direction::Action);
        let url = format!("http://{}/v1/payments?idempotency_key={key}", self.remote);
        let body = reqwest::get(url).await.expect("an answer").text().await.expect("a body");
        let mut body: Value = serde_json::from_str(&body).expect("JSON");
        body["payments"].as_array_mut().expect("a list").pop()
    }

    /// Returns the status of an order's payment at the provider.
    pub(crate) async fn their_status(&self, order: SagaId) -> Option<String> {
        let payment = self.theirs(order).await?;
        payment["status"].as_str().map(ToOwned::to_owned)
    }
}

fn provide(ledger: &TempDir, listener: TcpListener) -> Running {
    let shutdown = CancellationToken::new();
    let settings =
        saga_provider::Settings { slow_after: SLOW, ..saga_provider::Settings::new(ledger.path()) };
    let provider = saga_provider::run(settings, listener, shutdown.clone());
    let task = tokio::spawn(async move { provider.await.expect("it ends well") });
    Running { shutdown, task }
}

pub(crate) fn order() -> SagaId {
    SagaId(Uuid::now_v7())
}

pub(crate) fn authorise(order: SagaId, token: &str) -> Envelope {
    let authorise = AuthorisePayment {
        amount: Some(Money::new(PRICE, "EUR")),
        payment_token: token.to_owned(),
    };
    command(id(order, "authorise-payment", Direction::Action), &authorise)
}

pub(crate) fn refund(saga: SagaId, order: SagaId, amount: i64) -> Envelope {
    let refund =
        RefundPayment { order_id: order.to_string(), amount: Some(Money::new(amount, "EUR")) };
    command(id(saga, "refund-payment", Direction::Action), &refund)
}

pub(crate) fn id(saga: SagaId, step: &str, direction: Direction) -> CommandId {
    CommandId { saga, step: step.to_owned(), direction }
}
