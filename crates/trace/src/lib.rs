//! Trace context, and spans as values: a facade, like `tracing` and `metrics`.
//!
//! Any crate may make spans here. saga-telemetry [`install`]s their exporter, and only that crate
//! knows OpenTelemetry. No span is made without an exporter, or for a trace that is not sampled:
//! the one check is [`Context::recorded`].
//!
//! A span is a value with a beginning and an end, not a scope. The reason is that one transaction
//! serves many sagas, and only their rows tell which of them are traced. A span that serves several
//! traced sagas is in a trace of its own, with a link to each: [`Span::joining`].
//!
//! Read first: [`Context`], then [`Span`].

mod call;
mod context;
mod span;

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

pub use call::Call;
pub use context::{Context, trace_id};
pub use span::{Kind, Span, Value};

/// The receiver of finished spans.
pub trait Record: Send + Sync + 'static {
    /// Takes a span. Must not block: it is called on the hot path.
    fn record(&self, span: Span);
}

struct Installed {
    recorder: Box<dyn Record>,
    ratio: f64,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Begins to record spans: those of traces that others began and sampled, and `ratio` (from 0 to 1)
/// of the new traces. Once a process; later calls are ignored.
pub fn install(recorder: impl Record, ratio: f64) {
    let _ = INSTALLED.set(Installed { recorder: Box::new(recorder), ratio });
}

fn installed() -> Option<&'static Installed> {
    INSTALLED.get()
}

tokio::task_local! {
    static CURRENT: Context;
}

/// The recorded context that the current call works in, if there is one.
#[must_use]
pub fn current() -> Option<Context> {
    CURRENT.try_with(|context| *context).ok()
}

/// Runs a future in a context, so that calls within it continue its trace.
pub async fn within<F: Future>(context: Option<Context>, work: F) -> F::Output {
    match context {
        Some(context) => CURRENT.scope(context, work).await,
        None => work.await,
    }
}

/// A random number that is never zero, which W3C trace context forbids. The standard library keys
/// its hashes from the operating system's randomness, afresh for every thread.
fn random() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    RandomState::new().hash_one(CALLS.fetch_add(1, Ordering::Relaxed)).max(1)
}
