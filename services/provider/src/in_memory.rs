use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request},
};
use saga_sqlite::{Clock, Database};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::{
    access::Keeper,
    error::RunError,
    http::{self, App},
    ledger::Ledger,
    settings::Settings,
};

/// The longest answer; ours have some hundred bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The provider without a file and a socket, for simulations: the same calls, rules and ledger.
/// Its owner gives it ids and a clock, so that the same calls give the same bytes. Clones share it.
#[derive(Clone)]
pub struct InMemory {
    router: Router,
    database: Database,
    _keeper: Arc<Keeper>,
}

impl InMemory {
    /// An empty ledger, written by a task of the runtime in which this is called. The directory in
    /// the settings is not used.
    ///
    /// # Errors
    /// If SQLite has no memory.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn new(
        settings: &Settings,
        ids: impl Fn() -> Uuid + Send + Sync + 'static,
        clock: Clock,
    ) -> Result<Self, RunError> {
        let ledger = Ledger::in_memory(settings.down_attempts, Box::new(ids), clock)?;
        let database = ledger.database().clone();
        let (keeper, access) = Keeper::start(ledger);
        let app = App::new(access, settings, CancellationToken::new());
        Ok(Self { router: http::router(app), database, _keeper: Arc::new(keeper) })
    }

    /// Status and body of the answer to a call; a `POST` has a key and a body. `None`: the answer
    /// is lost. Slow answers take their time on the runtime's clock.
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
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }
}
