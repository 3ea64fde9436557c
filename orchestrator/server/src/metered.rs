//! Counts calls, measures them, and makes their spans.

use std::time::Instant;

use metrics::{counter, histogram};
use saga_trace::{Kind, Span, within};
use tonic::{Code, Status};

/// Carries a call out, in the trace that its caller began or in a new one, and counts
/// it by its method and its code. `method` is the full one: `saga.shop.v1.Orders/GetOrder`.
pub(crate) async fn metered<T>(
    method: &'static str,
    traceparent: Option<String>,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let began = Instant::now();
    let (service, name) = method.split_once('/').unwrap_or(("", method));
    let entry = Span::entry(traceparent.as_deref(), Kind::Server, method).map(|span| {
        span.with("rpc.system", "grpc").with("rpc.service", service).with("rpc.method", name)
    });
    let context = entry.as_ref().map(|span| span.context);
    let mut calling = Calling(entry);
    let result = within(context, Box::pin(call)).await;
    let code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
    calling.answered(code);
    counter!("saga_calls_total", "method" => name, "code" => format!("{code:?}")).increment(1);
    histogram!("saga_call_seconds", "method" => name).record(began.elapsed().as_secs_f64());
    result
}

/// The span of a call, which ends with the call even if its caller goes away.
struct Calling(Option<Span>);

impl Calling {
    fn answered(&mut self, code: Code) {
        let Some(span) = self.0.take() else { return };
        let span = span.with("rpc.grpc.status_code", i64::from(i32::from(code)));
        match code {
            Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => span.failed(code.description()).end(),
            Code::Ok
            | Code::Cancelled
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unauthenticated => span.end(),
        }
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.answered(Code::Cancelled);
        }
    }
}
