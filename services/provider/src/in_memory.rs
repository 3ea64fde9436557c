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

/// Maximum size of an answer. The provider's answers have some hundred bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The provider without a file and a socket, for simulations. Calls, rules and ledger are the same.
/// Ids and clock come from outside, so that the same calls give the same bytes. Clones share one
/// ledger.
#[derive(Clone)]
pub struct InMemory {
    router: Router,
    database: Database,
    _keeper: Arc<Keeper>,
}

impl InMemory {
    /// Creates a provider with an empty ledger. A task of the current runtime writes to the ledger.
    /// The directory in the settings is not used.
    ///
    /// # Errors
    /// If SQLite has no memory.
    ///
    /// # Panics
    /// If it is called outside a runtime.
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

    /// Makes a call and returns the answer's status and body, or `None` if the answer is lost. For
    /// a `POST`, pass a key and a body. Slow answers take time on the runtime's clock.
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

    /// Returns the ledger's database, for audits.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
    }
}
