//! The result of a command, and what a failed call contains: its gRPC code, its message, and the
//! google.rpc details.

use std::{error::Error as _, fmt::Write as _, io, time::Duration};

use serde_json::{Value, json};
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{clean::clean, times};

/// The result of a command that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The command did what was asked.
    Done,
    /// The answer is negative, and has been printed. For example, the request was rejected, or the
    /// audit failed.
    Refused,
}

/// The reason why a command was not answered.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The call failed. Its [`Status`] says whether calling again may help.
    #[error("{}: {}", name(.0.code()), .0.message())]
    Call(Box<Status>),
    /// A failure in this process, described for people.
    #[error("{0:#}")]
    Here(anyhow::Error),
    /// The output cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Call(Box::new(told_apart(status)))
    }
}

impl From<anyhow::Error> for Failure {
    /// Keeps a failed call as [`Failure::Call`], so that callers can see whether to call again.
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Status>() {
            Ok(status) => status.into(),
            Err(error) => Self::Here(error),
        }
    }
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Call(status) if may_retry(status) => 2,
            Self::Call(_) => 1,
            // The reader has closed the pipe (`saga sagas | head`). That is not a failure.
            Self::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Output(_) | Self::Here(_) => 1,
        }
    }

    /// Formats the failure for people. The first line describes it, the others give details and
    /// advice.
    pub(crate) fn text(&self) -> String {
        let mut text = clean(&self.to_string()).into_owned();
        if let Self::Call(status) = self {
            let details = status.get_error_details();
            // Some servers send the same sentence as message and as detail. Print it once.
            let said = status.message();
            for (what, description) in
                complaints(&details).into_iter().filter(|(_, sentence)| sentence != said)
            {
                let _ = write!(text, "\n  {}: {}", clean(&what), clean(&description));
            }
            match retry_delay(&details) {
                Some(delay) => {
                    let _ = write!(text, "\n  try again in {}", times::span(delay));
                }
                None if may_retry(status) => text.push_str("\n  try again: it may pass"),
                None => {}
            }
        }
        text
    }

    /// Formats the failure as JSON, for programs.
    pub(crate) fn json(&self) -> Value {
        match self {
            Self::Output(error) => {
                json!({"code": "OUTPUT", "message": error.to_string(), "retry": false})
            }
            Self::Here(_) => {
                json!({"code": "FAILED", "message": self.to_string(), "retry": false})
            }
            Self::Call(status) => {
                let details = status.get_error_details();
                let mut value = json!({
                    "code": name(status.code()),
                    "message": status.message(),
                    "retry": may_retry(status),
                });
                if let Some(bad) = details.bad_request() {
                    value["fieldViolations"] = bad
                        .field_violations
                        .iter()
                        .map(|v| json!({"field": v.field, "description": v.description}))
                        .collect();
                }
                if let Some(failed) = details.precondition_failure() {
                    value["preconditionViolations"] = failed
                        .violations
                        .iter()
                        .map(|v| json!({"type": v.r#type, "subject": v.subject, "description": v.description}))
                        .collect();
                }
                if let Some(info) = details.error_info() {
                    value["reason"] = json!(info.reason);
                    value["domain"] = json!(info.domain);
                    value["metadata"] = json!(info.metadata);
                }
                if let Some(delay) = retry_delay(&details) {
                    value["retryAfterMillis"] =
                        json!(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
                }
                value
            }
        }
    }
}

/// Returns true if the same call may succeed later. RESOURCE_EXHAUSTED counts only if the server
/// advises a retry, because a message that is too large will always be too large.
#[must_use]
pub fn may_retry(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => true,
        Code::ResourceExhausted => retry_delay(&status.get_error_details()).is_some(),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

/// Returns the pause that the server asks the caller to make, if it asks for one.
#[must_use]
pub fn retry_delay(details: &ErrorDetails) -> Option<Duration> {
    details.retry_info().and_then(|info| info.retry_delay)
}

/// Corrects the codes of failures that a transport caused. tonic reports its own time-outs as
/// CANCELLED or UNKNOWN, and a connection that broke during a call as UNKNOWN or INTERNAL. A status
/// from the server has no source error. It is left unchanged, unless it is CANCELLED: this side
/// cancels nothing, so the call's time was up, and the server's timer was faster than this side's.
#[must_use]
pub fn told_apart(status: Status) -> Status {
    let late = || Status::deadline_exceeded("no answer in time; it may still be carried out");
    let Some(source) = status.source() else {
        return if status.code() == Code::Cancelled { late() } else { status };
    };
    if causes(source).any(|cause| cause.is::<TimeoutExpired>()) {
        return late();
    }
    match status.code() {
        Code::Unknown | Code::Internal | Code::Cancelled | Code::Unavailable => {
            Status::unavailable(format!("no connection: {}", chain(source)))
        }
        _ => status,
    }
}

fn causes<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// Formats an error and its causes, without repetitions.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for said in causes(error).map(ToString::to_string) {
        if text.is_empty() {
            text = said;
        } else if !text.contains(&said) {
            let _ = write!(text, ": {said}");
        }
    }
    text
}

fn complaints(details: &ErrorDetails) -> Vec<(String, String)> {
    let fields = details.bad_request().into_iter().flat_map(|bad| &bad.field_violations);
    let failed = details.precondition_failure().into_iter().flat_map(|failed| &failed.violations);
    let quotas = details.quota_failure().into_iter().flat_map(|failed| &failed.violations);
    let mut all: Vec<_> = fields.map(|v| (v.field.clone(), v.description.clone())).collect();
    all.extend(failed.map(|v| (format!("{} {}", v.r#type, v.subject), v.description.clone())));
    all.extend(quotas.map(|v| (v.subject.clone(), v.description.clone())));
    if let Some(info) = details.error_info() {
        let mut about: Vec<_> =
            info.metadata.iter().map(|(name, value)| format!("{name} {value}")).collect();
        about.sort();
        all.push(("reason".to_owned(), [vec![info.reason.clone()], about].concat().join(", ")));
    }
    if let Some(links) = details.help() {
        all.extend(links.links.iter().map(|link| (link.description.clone(), link.url.clone())));
    }
    all
}

/// Returns a code's name as the gRPC documents spell it.
#[must_use]
pub fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_a_no_from_a_not_now() {
        let code = |status: Status| Failure::from(status).exit_code();
        assert_eq!(code(Status::invalid_argument("no")), 1);
        assert_eq!(code(Status::resource_exhausted("too large")), 1);
        assert_eq!(code(Status::unavailable("starting")), 2);
        assert_eq!(code(Status::deadline_exceeded("slow")), 2);
        let busy = ErrorDetails::with_retry_info(Some(Duration::from_secs(1)));
        assert_eq!(code(Status::with_error_details(Code::ResourceExhausted, "busy", busy)), 2);
        assert_eq!(Failure::Output(io::ErrorKind::BrokenPipe.into()).exit_code(), 0);
    }

    #[test]
    fn a_server_whose_timer_is_faster_is_called_again() {
        let status = told_apart(Status::cancelled("Timeout expired"));
        assert!(may_retry(&status), "{status:?}");
        assert_eq!(told_apart(Status::aborted("no")).code(), Code::Aborted);
    }

    #[test]
    fn details_are_sentences_for_people_and_fields_for_programs() {
        let mut details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1500)));
        details.add_bad_request_violation("lines[0].quantity", "is 0; at least 1");
        details.add_precondition_failure_violation("STATE", "order-1", "is \u{1b}[31mconfirmed");
        details.set_error_info("TOO_BUSY", "saga", [("limit".to_owned(), "256".to_owned())]);
        let failure =
            Failure::from(Status::with_error_details(Code::ResourceExhausted, "too busy", details));
        assert_eq!(
            failure.text(),
            "RESOURCE_EXHAUSTED: too busy
  lines[0].quantity: is 0; at least 1
  STATE order-1: is \\u{1b}[31mconfirmed
  reason: TOO_BUSY, limit 256
  try again in 1.500 s"
        );
        let json = failure.json();
        assert_eq!(json["code"], "RESOURCE_EXHAUSTED");
        assert_eq!(json["retry"], true);
        assert_eq!(json["retryAfterMillis"], 1500);
        assert_eq!(json["fieldViolations"][0]["field"], "lines[0].quantity");
        assert_eq!(json["preconditionViolations"][0]["subject"], "order-1");
        assert_eq!(json["reason"], "TOO_BUSY");
    }
}
