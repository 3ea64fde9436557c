//! Builds responses: from an outcome, from an error, or one that is never sent.

use std::io;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::access::NotWritten;
use crate::ledger;
use crate::records::Answer;
use crate::request::Malformed;

pub(crate) fn answered(answer: Answer) -> Response {
    json(
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        answer.body,
    )
}

pub(crate) fn refused(malformed: Malformed) -> Response {
    let status = match malformed {
        Malformed::PaymentId => StatusCode::NOT_FOUND,
        Malformed::Key
        | Malformed::Body { .. }
        | Malformed::Amount
        | Malformed::Currency
        | Malformed::Reference
        | Malformed::Token
        | Malformed::Duration => StatusCode::BAD_REQUEST,
    };
    error(status, malformed.code(), &malformed.to_string())
}

pub(crate) fn not_written(reason: NotWritten) -> Response {
    match reason {
        NotWritten::Storage => {
            error(StatusCode::INTERNAL_SERVER_ERROR, "storage_failed", &reason.to_string())
        }
        NotWritten::Closed => unavailable("shutting_down", &reason.to_string()),
    }
}

pub(crate) fn down() -> Response {
    unavailable("provider_down", "the provider is down; try again later")
}

pub(crate) fn unavailable(code: &str, message: &str) -> Response {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, code, message);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    json(status, ledger::error_body(code, message))
}

pub(crate) fn json_of(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(body) => json(StatusCode::OK, body),
        Err(_) => not_written(NotWritten::Storage),
    }
}

pub(crate) fn json(status: StatusCode, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Returns a response that is never sent. A body that fails before its first byte makes hyper close
/// the connection before it sends the head. The caller sees a transport error and cannot know the
/// outcome.
pub(crate) fn lost() -> Response {
    let failing = futures::stream::once(async {
        Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    Response::new(Body::from_stream(failing))
}
