//! Builds errors for callers: a code, a sentence, and details for programs.

use std::time::Duration;

use saga_core::Failure;
use saga_engine::RequestError;
use saga_identity::Role;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use tracing::{error, warn};

use crate::{RETRY_AFTER, Violations};

/// The domain of the reasons in every `ErrorInfo` of this server.
pub const DOMAIN: &str = "saga";

/// Reports invalid input. The details list every wrong field.
#[must_use]
pub fn invalid(violations: Violations) -> Status {
    let fields: Vec<&str> = violations.fields().collect();
    let message = format!("not valid: {}", fields.join(", "));
    Status::with_error_details(
        Code::InvalidArgument,
        message,
        ErrorDetails::with_bad_request(violations.into_details()),
    )
}

/// Reports one invalid field of the input.
#[must_use]
pub fn invalid_field(field: &str, why: &str) -> Status {
    let mut violations = Violations::default();
    violations.add(field, why);
    invalid(violations)
}

pub(crate) fn unauthenticated(message: &str) -> Status {
    with_reason(Code::Unauthenticated, message, "TOKENS_NOT_SUPPORTED", None)
}

/// Reports that the server has too much to do. Nothing was written.
#[must_use]
pub fn overloaded(message: &str) -> Status {
    with_reason(Code::ResourceExhausted, message, "OVERLOADED", Some(RETRY_AFTER))
}

/// Reports that a service or a database does not answer.
#[must_use]
pub fn unavailable(message: &str, reason: &str, retry_after: Duration) -> Status {
    with_reason(Code::Unavailable, message, reason, Some(retry_after))
}

/// Reports that this server is stopping. The caller can repeat the call at another server.
#[must_use]
pub fn stopping() -> Status {
    unavailable("the server is stopping: call again", "STOPPING", RETRY_AFTER)
}

/// Reports a failure of this server. The caller can do nothing about it.
#[must_use]
pub fn internal(message: &str) -> Status {
    Status::internal(message)
}

/// Reports that the object does not exist, or does not belong to the caller.
#[must_use]
pub fn not_found(kind: &str, id: &str) -> Status {
    let message = format!("there is no such {kind}");
    let details = ErrorDetails::with_resource_info(kind, id, "", message.clone());
    Status::with_error_details(Code::NotFound, message, details)
}

/// Reports that the idempotency key was already used with another payload.
#[must_use]
pub fn key_reused(key: &str) -> Status {
    let message = "the idempotency key was used with another payload: nothing was placed";
    let mut details = ErrorDetails::with_resource_info("idempotency key", key, "", message);
    details.set_error_info("KEY_REUSED", DOMAIN, [("idempotency_key".to_owned(), key.to_owned())]);
    Status::with_error_details(Code::AlreadyExists, message, details)
}

/// Reports that the object is not in the state that the call needs. `facts` are for programs. The
/// first fact is the object's id.
#[must_use]
pub fn precondition<const N: usize>(
    reason: &str,
    message: &str,
    facts: [(&str, &str); N],
) -> Status {
    let id = facts.first().map_or("", |(_, id)| id);
    let mut details = ErrorDetails::with_precondition_failure_violation(reason, id, message);
    let facts = facts.map(|(name, fact)| (name.to_owned(), fact.to_owned()));
    details.set_error_info(reason, DOMAIN, facts);
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// Reports that the saga's version is not the one that the operator has seen.
pub(crate) fn moved_on(saga: &str, seen: u64, version: u64) -> Status {
    let message =
        format!("the saga has version {version}, not {seen}: nothing was done, look at it again");
    let facts = [("saga_id", saga), ("version", &version.to_string())];
    precondition("SAGA_MOVED_ON", &message, facts)
}

/// Reports that the operator's request is not possible in the saga's state.
pub(crate) fn not_possible(saga: &str, obstacle: &str) -> Status {
    precondition("NOT_POSSIBLE", obstacle, [("saga_id", saga)])
}

/// Reports that the message's version is not the one that the operator has seen.
pub(crate) fn message_moved_on(id: &str, seen: u64, version: u64) -> Status {
    let message = format!(
        "the message has version {version}, not {seen}: nothing was done, look at it again"
    );
    let facts = [("message_id", id), ("version", &version.to_string())];
    precondition("MESSAGE_MOVED_ON", &message, facts)
}

/// Reports that the operator's request is not possible for this message.
pub(crate) fn not_possible_of_message(id: &str, hindrance: &str) -> Status {
    precondition("NOT_POSSIBLE", hindrance, [("message_id", id)])
}

/// Refuses a call whose caller has none of the roles that it needs.
pub(crate) fn role_missing(needed: &[Role]) -> Status {
    let names: Vec<&str> = needed.iter().map(|role| role.0).collect();
    let message = format!("the call needs the role {}", names.join(" or "));
    let facts = [("needed".to_owned(), names.join(" "))];
    let details = ErrorDetails::with_error_info("ROLE_MISSING", DOMAIN, facts);
    Status::with_error_details(Code::PermissionDenied, message, details)
}

/// Reports why the engine did not carry out a request. `trace_id` is the saga's, or empty if it is
/// not known.
#[must_use]
pub fn of_request(error: &RequestError, kind: &str, id: &str, trace_id: &str) -> Status {
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
        RequestError::Elsewhere => unavailable(
            "this server does not host the saga's version of its definition: nothing was changed, ask another orchestrator",
            "HOSTED_ELSEWHERE",
            RETRY_AFTER,
        ),
        RequestError::Undecidable => {
            error!(saga = id, trace_id, "a request met a saga that this version cannot decide on");
            internal(
                "this version of the server cannot decide on the saga: nothing was changed, tell an operator",
            )
        }
    }
}

/// Reports why the store could not read committed state.
#[must_use]
pub fn of_failure(failure: &Failure) -> Status {
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
