use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::error::RunError;
use crate::http::{self, App};
use crate::ledger::Ledger;
use crate::reader::Reader;
use crate::settings::Settings;
use crate::writer::Writer;

/// The longest answer; ours have some hundred bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The provider without a file, a thread and a socket, for simulations: the same calls, rules and ledger. Its ids and its
/// clock are its owner's, so that the same calls give the same bytes. Clones share it.
#[derive(Clone)]
pub struct InMemory {
    router: Router,
    ledger: Arc<Mutex<Ledger>>,
}

impl InMemory {
    /// An empty one. Of the settings the directory means nothing here; `now` is in Unix milliseconds.
    ///
    /// # Errors
    /// If SQLite has no memory.
    pub fn new(
        settings: &Settings,
        ids: impl Fn() -> Uuid + Send + 'static,
        now: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> Result<Self, RunError> {
        let ledger = Ledger::in_memory(settings.down_attempts, Box::new(ids))?;
        let ledger = Arc::new(Mutex::new(ledger));
        let writer = Writer::here(Arc::clone(&ledger), Box::new(now));
        let reader = Reader::Here(Arc::clone(&ledger));
        let app = App::new(writer, reader, settings, CancellationToken::new());
        Ok(Self { router: http::router(app), ledger })
    }

    /// Status and body of what a call is answered, a `POST` with its key and its body. `None`: the answer is lost. Slow
    /// answers take their time on the runtime's clock.
    pub async fn ask(
        &self,
        path_and_query: &str,
        post: Option<(&str, &[u8])>,
    ) -> Option<(u16, Vec<u8>)> {
        let request = Request::builder().uri(path_and_query);
        let request = match post {
            None => request.method(Method::GET).body(Body::empty()),
            Some((key, body)) => request
                .method(Method::POST)
                .header("idempotency-key", key)
                .header("content-type", "application/json")
                .body(Body::from(body.to_vec())),
        };
        let Ok(response) = self.router.clone().oneshot(request.ok()?).await;
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), MAX_ANSWER_BYTES).await.ok()?;
        Some((status, body.to_vec()))
    }

    /// The ledger, as an auditor would read it.
    ///
    /// # Errors
    /// Whatever the reading says.
    pub fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        read(self.ledger.lock().unwrap_or_else(PoisonError::into_inner).connection())
    }
}
