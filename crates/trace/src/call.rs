//! The span of a call that this process answers, by OpenTelemetry's conventions for gRPC.

use crate::{Context, Kind, Span};

/// The status codes of gRPC that the conventions count as failures of the server.
const UNKNOWN: i32 = 2;
const DEADLINE_EXCEEDED: i32 = 4;
const UNIMPLEMENTED: i32 = 12;
const INTERNAL: i32 = 13;
const UNAVAILABLE: i32 = 14;
const DATA_LOSS: i32 = 15;
/// The status code of a call whose caller has disconnected.
const CANCELLED: i32 = 1;

/// The span of a call. It ends with the call, even if the caller disconnects.
#[derive(Debug)]
pub struct Call(Option<Span>);

impl Call {
    /// Begins the span of a call from outside the system, in the caller's trace or in a new one.
    /// `method` is the full method name: `trip.v1.Trips/GetTrip`.
    #[must_use]
    pub fn entry(method: &str, traceparent: Option<&str>) -> Self {
        let entry = Span::entry(traceparent, Kind::Server, method.to_owned());
        Self(entry.map(|span| named(span, method)))
    }

    /// Begins the span of a call from inside the system. It continues a trace that the caller
    /// records, but never begins a new one.
    #[must_use]
    pub fn inside(method: &str, traceparent: Option<&str>) -> Self {
        let caller = Context::recorded(traceparent);
        Self(
            caller
                .map(|caller| named(Span::child(caller, Kind::Server, method.to_owned()), method)),
        )
    }

    /// Returns the context for the work on this call, if the call is recorded.
    #[must_use]
    pub fn context(&self) -> Option<Context> {
        self.0.as_ref().map(|span| span.context)
    }

    /// Ends the span with the answer's gRPC code and its description.
    pub fn answered(&mut self, code: i32, meaning: &str) {
        let Some(span) = self.0.take() else { return };
        let span = span.with("rpc.grpc.status_code", i64::from(code));
        match code {
            UNKNOWN | DEADLINE_EXCEEDED | UNIMPLEMENTED | INTERNAL | UNAVAILABLE | DATA_LOSS => {
                span.failed(meaning).end();
            }
            _ => span.end(),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.answered(CANCELLED, "");
        }
    }
}

fn named(span: Span, method: &str) -> Span {
    let (service, name) = method.split_once('/').unwrap_or(("", method));
    span.with("rpc.system", "grpc")
        .with("rpc.service", service.to_owned())
        .with("rpc.method", name.to_owned())
}
