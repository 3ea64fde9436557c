//! Counts calls and how long they take.

use std::time::Instant;

use metrics::{counter, histogram};
use tonic::{Code, Status};

/// Carries a call out, and counts it by its method and its code.
pub(crate) async fn metered<T>(
    method: &'static str,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    let began = Instant::now();
    let result = call.await;
    let code = result.as_ref().map_or_else(Status::code, |_| Code::Ok);
    counter!("saga_calls_total", "method" => method, "code" => format!("{code:?}")).increment(1);
    histogram!("saga_call_seconds", "method" => method).record(began.elapsed().as_secs_f64());
    result
}
