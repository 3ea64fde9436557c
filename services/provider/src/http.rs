//! Serves the ledger over HTTP: the routes, and the limits on every call.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, request::Parts};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};
use saga_trace::{Context, Kind, Span};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, LedgerStats, NotWritten};
use crate::control::Faults;
use crate::ledger::Outcome;
use crate::records::{self, Answer};
use crate::request::{self, Malformed, Request as Asked, Submission};
use crate::respond::{
    answered, down, error, json, json_of, lost, not_written, refused, unavailable,
};
use crate::tokens::Behaviour;

/// Maximum size of a body. Valid ones have at most about 2 KiB.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// Maximum number of calls in progress, including slow ones. With bodies of maximum size they use
/// half a GiB.
const MAX_IN_FLIGHT: usize = 8_192;
/// Time limit for receiving a body.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// The state that all calls share.
pub(crate) struct App {
    ledger: Access,
    stopping: CancellationToken,
    slow_after: Duration,
    very_slow_after: Duration,
    faults: Faults,
    in_flight: Arc<Semaphore>,
}

#[derive(Deserialize)]
struct ByKey {
    idempotency_key: String,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(flatten)]
    ledger: LedgerStats,
}

#[derive(Serialize)]
struct PaymentsFound {
    payments: Vec<Box<RawValue>>,
}

#[derive(Serialize)]
struct OperationFound {
    found: bool,
    status: u16,
    body: Box<RawValue>,
}

impl App {
    pub(crate) fn new(
        ledger: Access,
        settings: &crate::Settings,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            stopping,
            slow_after: settings.slow_after,
            very_slow_after: settings.very_slow_after,
            faults: Faults::default(),
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
        })
    }

    /// Waits on purpose. Returns false if the provider is stopped before the wait is over.
    async fn rest(&self, length: Duration) -> bool {
        if length.is_zero() {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(length) => true,
            () = self.stopping.cancelled() => false,
        }
    }
}

pub(crate) fn router(app: Arc<App>) -> Router {
    let payments = Router::new()
        .route("/v1/payments", post(create).get(find_payment))
        .route("/v1/payments/{id}", get(payment))
        .route("/v1/payments/{id}/capture", post(capture))
        .route("/v1/payments/{id}/cancel", post(cancel))
        .route("/v1/payments/{id}/refunds", post(refund))
        .route("/v1/operations", get(find_operation))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), in_its_own_time));
    Router::new()
        .merge(payments)
        .route("/health", get(health))
        .route("/control/outage", post(outage))
        .route("/control/delay", post(delay))
        .fallback(async || error(StatusCode::NOT_FOUND, "not_found", "there is nothing here"))
        .method_not_allowed_fallback(async || {
            error(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this method is not answered here",
            )
        })
        .with_state(app)
}

/// Wraps every `/v1` call with the outage, the limits and the delay. Once its body has arrived, a
/// call runs in its own task, so that it is completed even if the caller disconnects.
async fn in_its_own_time(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.faults.in_outage() {
        return down();
    }
    let Ok(permit) = Arc::clone(&app.in_flight).try_acquire_owned() else {
        return unavailable("overloaded", "too many calls are being answered; try again later");
    };
    let (parts, body) = request.into_parts();
    let body = match tokio::time::timeout(BODY_WITHIN, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => body,
        // This error also occurs if the caller has disconnected, but then nobody reads the answer.
        Ok(Err(_)) => {
            return error(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                "a body has at most 64 KiB",
            );
        }
        Err(_) => {
            return error(
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "the body did not arrive in time",
            );
        }
    };
    let span = span(&parts);
    let answering = tokio::spawn(async move {
        let _permit = permit;
        app.rest(app.faults.delay()).await;
        let answer = next.run(Request::from_parts(parts, Body::from(body))).await;
        let status = answer.status();
        metrics::counter!("saga_provider_calls_total", "status" => status.as_u16().to_string())
            .increment(1);
        if let Some(span) = span {
            span.with("http.response.status_code", i64::from(status.as_u16())).end();
        }
        answer
    });
    answering.await.unwrap_or_else(|_| {
        error(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this call failed")
    })
}

/// Creates the call's span in the caller's trace. Without such a trace there is no span.
fn span(call: &Parts) -> Option<Span> {
    let caller = call.headers.get("traceparent").and_then(|value| value.to_str().ok());
    let method = call.method.to_string();
    let span = Span::child(Context::recorded(caller)?, Kind::Server, method.clone());
    Some(span.with("http.request.method", method).with("url.path", call.uri.path().to_owned()))
}

async fn create(State(app): State<Arc<App>>, headers: HeaderMap, body: Bytes) -> Response {
    submit(&app, request::create(&headers, &body)).await
}

type Id = Result<Path<String>, PathRejection>;

async fn capture(State(app): State<Arc<App>>, id: Id, headers: HeaderMap, body: Bytes) -> Response {
    submit(&app, read_id(id).and_then(|id| request::capture(&headers, id, &body))).await
}

async fn cancel(State(app): State<Arc<App>>, id: Id, headers: HeaderMap, body: Bytes) -> Response {
    submit(&app, read_id(id).and_then(|id| request::cancel(&headers, id, &body))).await
}

async fn refund(State(app): State<Arc<App>>, id: Id, headers: HeaderMap, body: Bytes) -> Response {
    submit(&app, read_id(id).and_then(|id| request::refund(&headers, id, &body))).await
}

async fn submit(app: &App, submission: Result<Submission, Malformed>) -> Response {
    let submission = match submission {
        Ok(submission) => submission,
        Err(malformed) => return refused(malformed),
    };
    let behaviour = match &submission.request {
        Asked::Create { behaviour, .. } => Some(*behaviour),
        Asked::Capture { .. } | Asked::Cancel { .. } | Asked::Refund { .. } => None,
    };
    if behaviour == Some(Behaviour::VerySlow) {
        let key = submission.key.clone();
        match app.ledger.read(move |ledger| records::recorded(ledger, &key)).await {
            Some(Some(_)) => {}
            Some(None) if app.rest(app.very_slow_after).await => {}
            Some(None) => return not_written(NotWritten::Closed),
            None => return not_written(NotWritten::Storage),
        }
    }
    match app.ledger.submit(submission).await {
        Ok(Outcome::Answered(answer)) => {
            if behaviour == Some(Behaviour::Slow) {
                app.rest(app.slow_after).await;
            }
            answered(answer)
        }
        Ok(Outcome::Replayed(answer)) => {
            let mut response = answered(answer);
            response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
            response
        }
        Ok(Outcome::AnswerLost) => lost(),
        Ok(Outcome::KeyReused) => error(
            StatusCode::UNPROCESSABLE_ENTITY,
            "idempotency_key_reused",
            "this idempotency key belongs to another request",
        ),
        Ok(Outcome::Down) => down(),
        Err(reason) => not_written(reason),
    }
}

async fn payment(State(app): State<Arc<App>>, id: Id) -> Response {
    let id = match read_id(id).and_then(request::checked_id) {
        Ok(id) => id,
        Err(malformed) => return refused(malformed),
    };
    let found = app.ledger.read(move |ledger| {
        records::payment(ledger, &id)?.as_ref().map(records::payment_body).transpose()
    });
    match found.await {
        Some(Some(body)) => json(StatusCode::OK, body),
        Some(None) => refused(Malformed::PaymentId),
        None => not_written(NotWritten::Storage),
    }
}

type KeyQuery = Result<Query<ByKey>, QueryRejection>;

async fn find_payment(State(app): State<Arc<App>>, query: KeyQuery) -> Response {
    let key = match read_key(query) {
        Ok(key) => key,
        Err(malformed) => return refused(malformed),
    };
    let found = app
        .ledger
        .read(move |ledger| {
            records::payment_by_key(ledger, &key)?.as_ref().map(records::payment_body).transpose()
        })
        .await;
    match found.map(|body| body.map(RawValue::from_string).transpose()) {
        Some(Ok(payment)) => json_of(&PaymentsFound { payments: payment.into_iter().collect() }),
        Some(Err(_)) | None => not_written(NotWritten::Storage),
    }
}

async fn find_operation(State(app): State<Arc<App>>, query: KeyQuery) -> Response {
    let key = match read_key(query) {
        Ok(key) => key,
        Err(malformed) => return refused(malformed),
    };
    match app.ledger.read(move |ledger| records::recorded(ledger, &key)).await {
        Some(None) => json(StatusCode::OK, r#"{"found":false}"#.to_owned()),
        Some(Some((_, Answer { status, body }))) => match RawValue::from_string(body) {
            Ok(body) => json_of(&OperationFound { found: true, status, body }),
            Err(_) => not_written(NotWritten::Storage),
        },
        None => not_written(NotWritten::Storage),
    }
}

async fn health(State(app): State<Arc<App>>) -> Response {
    let status = if app.faults.in_outage() { "outage" } else { "ok" };
    json_of(&Health { status, ledger: app.ledger.stats() })
}

async fn outage(State(app): State<Arc<App>>, body: Bytes) -> Response {
    ordered(app.faults.order_outage(&body))
}

async fn delay(State(app): State<Arc<App>>, body: Bytes) -> Response {
    ordered(app.faults.order_delay(&body))
}

fn ordered(result: Result<(), Malformed>) -> Response {
    match result {
        Ok(()) => json(StatusCode::OK, "{}".to_owned()),
        Err(malformed) => refused(malformed),
    }
}

fn read_id(id: Id) -> Result<String, Malformed> {
    id.map(|Path(id)| id).map_err(|_| Malformed::PaymentId)
}

fn read_key(query: KeyQuery) -> Result<String, Malformed> {
    let Query(ByKey { idempotency_key }) = query.map_err(|_| Malformed::Key)?;
    request::checked_key(&idempotency_key)
}
