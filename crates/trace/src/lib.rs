//! Trace context, and spans as values: a facade, as `tracing` and `metrics` are.
//!
//! Everybody may make spans here; saga-telemetry [`install`]s what exports them,
//! and nobody else knows OpenTelemetry. Without it, and for whatever is not
//! sampled, no span is ever made: the one check is [`Context::recorded`].
//!
//! A span is a value with a beginning and an end, not a scope, because one
//! transaction serves many sagas, and which of them are traced is known only once
//! their rows have been read. What joins several of them is a span in a trace of
//! its own, with a link to each: [`Span::joining`].
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

/// Where finished spans go.
pub trait Record: Send + Sync + 'static {
    /// Takes a span. Must not block: it is called on the hot path.
    fn record(&self, span: Span);
}

struct Installed {
    recorder: Box<dyn Record>,
    ratio: f64,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// From now on spans are recorded: those of traces that others began and sampled,
/// and of new ones this share, from 0 to 1. Once a process; later calls are ignored.
pub fn install(recorder: impl Record, ratio: f64) {
    let _ = INSTALLED.set(Installed { recorder: Box::new(recorder), ratio });
}

fn installed() -> Option<&'static Installed> {
    INSTALLED.get()
}

tokio::task_local! {
    static CURRENT: Context;
}

/// The recorded context that the current call works in, where there is one.
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

/// Never zero, which W3C trace context forbids. The standard library keys its
/// hashes from the operating system's randomness, afresh for every thread.
fn random() -> u64 {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    RandomState::new().hash_one(CALLS.fetch_add(1, Ordering::Relaxed)).max(1)
}
