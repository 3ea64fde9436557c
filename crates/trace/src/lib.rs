//! Trace contexts, and spans as values. This is a facade, like the crates `tracing` and `metrics`.
//!
//! Any crate may create spans here. saga-telemetry [`install`]s their exporter, and only that crate
//! uses OpenTelemetry. No span is created without an exporter, or for a trace that is not sampled:
//! [`Context::recorded`] is the only check.
//!
//! A span is a value with a beginning and an end, not a scope, because one transaction serves many
//! sagas, and only their rows show which of them are traced. A span that serves several traced
//! sagas is in its own trace, with a link to the trace of each saga: [`Span::joining`].
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

/// Receives finished spans.
pub trait Record: Send + Sync + 'static {
    /// Receives a span. It must not block, because it is called on the hot path.
    fn record(&self, span: Span);
}

struct Installed {
    recorder: Box<dyn Record>,
    ratio: f64,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Starts recording spans: those of sampled traces that came from outside, and a share `ratio`
/// (from 0 to 1) of the new traces. Only the first call in a process counts.
pub fn install(recorder: impl Record, ratio: f64) {
    let _ = INSTALLED.set(Installed { recorder: Box::new(recorder), ratio });
}

fn installed() -> Option<&'static Installed> {
    INSTALLED.get()
}

tokio::task_local! {
    static CURRENT: Context;
}

/// Returns the recorded context of the current work, if there is one.
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

/// Returns a random number that is not zero, because W3C trace context forbids zero. The randomness
/// comes from the keys of the standard library's hashes, which come from the operating system.
fn random() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    RandomState::new().hash_one(CALLS.fetch_add(1, Ordering::Relaxed)).max(1)
}
