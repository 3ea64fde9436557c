//! Counts calls, measures their time, and makes their spans.

use std::time::Instant;

use metrics::{counter, histogram};
use saga_trace::{Call, within};
use tonic::{Code, Status};

/// Carries out a call, in the trace that its caller began or in a new one, and counts it by its
/// method and its code. `method` is the full method name: `saga.shop.v1.Orders/GetOrder`.
pub(crate) async fn metered<T>(
    method: &'static str,
    traceparent: Option<String>,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let began = Instant::now();
    let (_, name) = method.split_once('/').unwrap_or(("", method));
    let mut calling = Call::entry(method, traceparent.as_deref());
    let context = calling.context();
    let result = within(context, Box::pin(call)).await;
    let code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
    calling.answered(code.into(), code.description());
    counter!("saga_calls_total", "method" => name, "code" => format!("{code:?}")).increment(1);
    histogram!("saga_call_seconds", "method" => name).record(began.elapsed().as_secs_f64());
    result
}
