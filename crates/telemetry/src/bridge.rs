//! Exports spans of the crate `tracing` to OTLP: those that the author of a service creates with
//! `#[tracing::instrument]`.
//!
//! A span without a parent becomes a child of [`saga_trace::current`]. Within a handler that is the
//! span of the handler's transaction. Without a recorded context the span is not exported. The log
//! filter does not affect the export: all spans of level INFO and above are exported.

use std::cell::Cell;

use opentelemetry::{Context as OtelContext, ContextGuard, trace::TraceContextExt as _};
use opentelemetry_sdk::trace::SdkTracer;
use tracing::{
    Subscriber,
    span::{Attributes, Id},
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::Context,
    registry::LookupSpan,
};

use crate::{QUIET, traces};

/// Creates the layer that passes spans of `tracing` to the tracer.
pub(crate) fn layer<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_context_activation(false);
    let quiet = QUIET.map(|target| (target, LevelFilter::OFF));
    let filter = Targets::new().with_default(LevelFilter::INFO).with_targets(quiet);
    // The order matters: each layer receives a new span before the next layer does.
    Enter.and_then(spans).and_then(Leave).with_filter(filter)
}

thread_local! {
    /// Set while the tracer determines the parent of a new span.
    static PARENT: Cell<Option<ContextGuard>> = const { Cell::new(None) };
}

/// Sets OpenTelemetry's current context from ours, because a new span takes its parent from there.
struct Enter;

impl<S: Subscriber> Layer<S> for Enter {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if let Some(here) = saga_trace::current() {
            let parent = traces::context(here, true);
            let parent = OtelContext::new().with_remote_span_context(parent);
            PARENT.set(Some(parent.attach()));
        }
    }
}

/// Undoes what [`Enter`] has set.
struct Leave;

impl<S: Subscriber> Layer<S> for Leave {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        PARENT.take();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry_sdk::{
        Resource,
        error::OTelSdkResult,
        trace::{SimpleSpanProcessor, SpanData, SpanExporter},
    };
    use saga_trace::within;
    use tracing_subscriber::{Registry, layer::SubscriberExt as _};

    use super::*;

    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[tracing::instrument(skip_all, fields(lines = 2))]
    async fn outer() {
        tokio::task::yield_now().await;
        inner();
    }

    #[tracing::instrument]
    fn inner() {
        tracing::warn!("something");
    }

    #[tracing::instrument(level = "debug")]
    fn too_fine() {}

    /// Keeps the exported spans. (The SDK has such an exporter, but behind features that only tests
    /// would enable, and then every crate would be built twice.)
    #[derive(Clone, Debug, Default)]
    struct Kept(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Kept {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().expect("sound").extend(batch);
            Ok(())
        }
    }

    /// Runs a future, and returns the spans that were exported meanwhile.
    async fn exported(work: impl Future<Output = ()>) -> Vec<SpanData> {
        let exporter = Kept::default();
        let processor = SimpleSpanProcessor::new(exporter.clone());
        let tracer = traces::tracer(processor, Resource::builder().build());
        let subscriber = Registry::default().with(layer(tracer));
        let _guard = tracing::subscriber::set_default(subscriber);
        work.await;
        std::mem::take(&mut *exporter.0.lock().expect("sound"))
    }

    #[tokio::test]
    async fn a_span_hangs_under_the_current_context_and_its_own_under_it() {
        let context = saga_trace::Context::parse(CALLER);
        let spans = exported(within(context, outer())).await;
        let [inner, outer] = &spans[..] else { panic!("{spans:#?}") };
        assert_eq!((&*inner.name, &*outer.name), ("inner", "outer"));
        assert_eq!(outer.parent_span_id.to_string(), "00f067aa0ba902b7");
        assert_eq!(inner.parent_span_id, outer.span_context.span_id());
        for span in [inner, outer] {
            assert_eq!(
                span.span_context.trace_id().to_string(),
                "4bf92f3577b34da6a3ce929d0e0e4736"
            );
        }
        assert_eq!(inner.events.len(), 1, "what was logged in it");
    }

    #[tokio::test]
    async fn nothing_is_recorded_outside_any_trace_or_below_the_level_or_once_it_is_left() {
        let spans = exported(async {
            outer().await;
            within(saga_trace::Context::parse(CALLER), async { too_fine() }).await;
            outer().await;
        });
        assert!(spans.await.is_empty());
    }
}
