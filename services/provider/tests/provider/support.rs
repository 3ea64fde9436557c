//! Starts a provider on its own port, and makes calls to it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use saga_provider::{RunError, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything in these tests takes. A test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), RunError>>,
}

/// An answer of the provider.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) replayed: bool,
    pub(crate) body: Value,
}

impl Provider {
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::start_with(Settings::new(dir)).await
    }

    pub(crate) async fn start_with(settings: Settings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(saga_provider::run(settings, listener, shutdown.clone()));
        Self { address, client: client(PATIENCE), shutdown, running }
    }

    /// Stops the provider and waits until its file is closed.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.running).await.expect("it ends in time");
        ended.expect("no panic").expect("a clean end");
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn try_post(
        &self,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Result<Reply, reqwest::Error> {
        let request = self.client.post(self.url(path)).header("Idempotency-Key", key).json(body);
        reply(request.send().await?).await
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: Value) -> Reply {
        self.try_post(path, key, &body).await.expect("an answer")
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        reply(self.client.get(self.url(path)).send().await.expect("an answer"))
            .await
            .expect("a whole answer")
    }

    /// Creates a payment of 1,000 EUR cents.
    pub(crate) async fn create(&self, key: &str, token: &str) -> Reply {
        self.post("/v1/payments", key, payment(token)).await
    }

    /// Creates a payment that is approved, and returns its id.
    pub(crate) async fn authorised(&self, key: &str, token: &str) -> String {
        id(&self.create(key, token).await)
    }

    pub(crate) async fn capture(&self, id: &str, key: &str) -> Reply {
        self.post(&format!("/v1/payments/{id}/capture"), key, json!({ "amount": 1_000 })).await
    }

    pub(crate) async fn cancel(&self, id: &str, key: &str) -> Reply {
        self.post(&format!("/v1/payments/{id}/cancel"), key, json!({})).await
    }

    pub(crate) async fn refund(&self, id: &str, key: &str, amount: i64) -> Reply {
        self.post(&format!("/v1/payments/{id}/refunds"), key, json!({ "amount": amount })).await
    }
}

impl Reply {
    pub(crate) fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or("no error code")
    }
}

pub(crate) fn dir() -> TempDir {
    tempfile::tempdir().expect("a directory")
}

pub(crate) fn client(timeout: Duration) -> Client {
    Client::builder().timeout(timeout).build().expect("a client")
}

pub(crate) fn payment(token: &str) -> Value {
    json!({ "amount": 1_000, "currency": "EUR", "token": token, "reference": "order-1" })
}

pub(crate) fn id(reply: &Reply) -> String {
    reply.body["id"].as_str().expect("an id").to_owned()
}

pub(crate) async fn reply(response: reqwest::Response) -> Result<Reply, reqwest::Error> {
    let status = response.status();
    let replayed =
        response.headers().get("idempotent-replayed").is_some_and(|value| value == "true");
    Ok(Reply { status, replayed, body: response.json().await? })
}

/// Reads a single number from the ledger's file, as an auditor would.
pub(crate) fn number(dir: &Path, sql: &str) -> i64 {
    let connection =
        rusqlite::Connection::open(dir.join("provider.sqlite")).expect("the ledger's file");
    connection.query_row(sql, [], |row| row.get(0)).expect("a number")
}
