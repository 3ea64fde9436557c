//! Errors for callers: a code, a sentence, and details that a program can act on.

use std::time::Duration;

use saga_core::Failure;
use saga_engine::RequestError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tracing::{error, warn};

use crate::{settings::RETRY_AFTER, violations::Violations};

/// The domain of the reasons in `ErrorInfo`.
const DOMAIN: &str = "saga.shop";

/// The input is bad; lists every field that is wrong.
pub(crate) fn invalid(violations: Violations) -> Status {
    let fields: Vec<&str> = violations.fields().collect();
    let message = format!("not valid: {}", fields.join(", "));
    Status::with_error_details(
        Code::InvalidArgument,
        message,
        ErrorDetails::with_bad_request(violations.into_details()),
    )
}

/// One field that is wrong.
pub(crate) fn invalid_field(field: &str, why: &str) -> Status {
    let mut violations = Violations::default();
    violations.add(field, why);
    invalid(violations)
}

pub(crate) fn unauthenticated(message: &str) -> Status {
    with_reason(Code::Unauthenticated, message, "TOKENS_NOT_SUPPORTED", None)
}

/// There is too much to do. Nothing was written.
pub(crate) fn overloaded(message: &str) -> Status {
    with_reason(Code::ResourceExhausted, message, "OVERLOADED", Some(RETRY_AFTER))
}

/// A service or a database does not answer.
pub(crate) fn unavailable(message: &str, reason: &str, retry_after: Duration) -> Status {
    with_reason(Code::Unavailable, message, reason, Some(retry_after))
}

/// This server stops; another one, or its successor, goes on.
pub(crate) fn stopping() -> Status {
    unavailable("the server is stopping: call again", "STOPPING", RETRY_AFTER)
}

pub(crate) fn internal(message: &str) -> Status {
    Status::internal(message)
}

/// The thing does not exist, or it is not the caller's.
pub(crate) fn not_found(kind: &str, id: &str) -> Status {
    let message = format!("there is no such {kind}");
    let details = ErrorDetails::with_resource_info(kind, id, "", message.clone());
    Status::with_error_details(Code::NotFound, message, details)
}

/// The idempotency key was used for something else.
pub(crate) fn key_reused(key: &str) -> Status {
    let message = "the idempotency key was used with another payload: nothing was placed";
    let mut details = ErrorDetails::with_resource_info("idempotency key", key, "", message);
    details.set_error_info("KEY_REUSED", DOMAIN, [("idempotency_key".to_owned(), key.to_owned())]);
    Status::with_error_details(Code::AlreadyExists, message, details)
}

/// The order is not in the state that the call needs.
pub(crate) fn precondition(reason: &str, order: &str, message: &str) -> Status {
    let mut details = ErrorDetails::with_precondition_failure_violation(reason, order, message);
    details.set_error_info(reason, DOMAIN, [("order_id".to_owned(), order.to_owned())]);
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// The saga's version differs from the one that the operator has seen.
pub(crate) fn moved_on(saga: &str, seen: u64, version: u64) -> Status {
    let message =
        format!("the saga has version {version}, not {seen}: nothing was done, look at it again");
    let reason = "SAGA_MOVED_ON";
    let mut details = ErrorDetails::with_precondition_failure_violation(reason, saga, &message);
    let facts = [("saga_id", saga.to_owned()), ("version", version.to_string())];
    details.set_error_info(reason, DOMAIN, facts.map(|(name, fact)| (name.to_owned(), fact)));
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// The operator's request is not possible in the saga's state.
pub(crate) fn not_possible(saga: &str, obstacle: &str) -> Status {
    let reason = "NOT_POSSIBLE";
    let mut details = ErrorDetails::with_precondition_failure_violation(reason, saga, obstacle);
    details.set_error_info(reason, DOMAIN, [("saga_id".to_owned(), saga.to_owned())]);
    Status::with_error_details(Code::FailedPrecondition, obstacle, details)
}

/// The message's version differs from the one that the operator has seen.
pub(crate) fn message_moved_on(id: &str, seen: u64, version: u64) -> Status {
    let message = format!(
        "the message has version {version}, not {seen}: nothing was done, look at it again"
    );
    let reason = "MESSAGE_MOVED_ON";
    let mut details = ErrorDetails::with_precondition_failure_violation(reason, id, &message);
    let facts = [("message_id", id.to_owned()), ("version", version.to_string())];
    details.set_error_info(reason, DOMAIN, facts.map(|(name, fact)| (name.to_owned(), fact)));
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// The operator's request is not possible for this message.
pub(crate) fn not_possible_of_message(id: &str, hindrance: &str) -> Status {
    let reason = "NOT_POSSIBLE";
    let mut details = ErrorDetails::with_precondition_failure_violation(reason, id, hindrance);
    details.set_error_info(reason, DOMAIN, [("message_id".to_owned(), id.to_owned())]);
    Status::with_error_details(Code::FailedPrecondition, hindrance, details)
}

/// The call is answered on the machine itself only.
pub(crate) fn off_loopback() -> Status {
    let message = "operators' calls are answered on loopback only, until callers can be told apart";
    with_reason(Code::PermissionDenied, message, "OFF_LOOPBACK", None)
}

/// The call is not answered through a proxy.
pub(crate) fn forwarded() -> Status {
    let message = "operators' calls are answered only without a proxy in between, until callers can be told apart: call an orchestrator itself";
    with_reason(Code::PermissionDenied, message, "FORWARDED", None)
}

/// The engine did not carry a request out. `trace_id` is the saga's, if it is known.
pub(crate) fn of_request(error: &RequestError, kind: &str, id: &str, trace_id: &str) -> Status {
    match error {
        RequestError::Overloaded => {
            overloaded("too many requests wait: nothing was written, call again")
        }
        RequestError::Unavailable => unavailable(
            "the request may have been accepted: call again, with the same idempotency key if it has one",
            "UNKNOWN_OUTCOME",
            RETRY_AFTER,
        ),
        RequestError::NotFound => not_found(kind, id),
        RequestError::Unhosted(_) | RequestError::Data(_) => {
            error!(%error, "a saga cannot be begun");
            internal("this server cannot begin it: nothing was written, tell an operator")
        }
        RequestError::Undecidable => {
            error!(saga = id, trace_id, "a request met a saga that this version cannot decide on");
            internal(
                "this version of the server cannot decide on the saga: nothing was changed, tell an operator",
            )
        }
    }
}

/// Committed state could not be read.
pub(crate) fn of_failure(failure: &Failure) -> Status {
    match failure {
        Failure::Conflict(_) | Failure::Unavailable(_) | Failure::UnknownCommit(_) => {
            warn!(%failure, "sagas cannot be read");
            unavailable("the sagas cannot be read now: call again", "STORE_AWAY", RETRY_AFTER)
        }
        Failure::Permanent(_) => {
            error!(%failure, "a saga cannot be read");
            internal("the saga cannot be read: tell an operator")
        }
    }
}

fn with_reason(code: Code, message: &str, reason: &str, retry: Option<Duration>) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, []);
    if retry.is_some() {
        details.set_retry_info(retry);
    }
    Status::with_error_details(code, message, details)
}
