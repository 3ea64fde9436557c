//! Exports spans as OTLP over gRPC.
//!
//! Losing spans does no harm: the queue has a limit, and spans beyond it are dropped. If the
//! collector is unreachable, that is logged once, not every five seconds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use metrics::counter;
use opentelemetry::{
    Context as OtelContext, InstrumentationScope, KeyValue, Value as OtelValue,
    trace::{
        Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
        TracerProvider as _,
    },
};
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData,
        SpanEvents, SpanExporter, SpanLinks, SpanProcessor,
    },
};
use saga_trace::{Kind, Record, Span, Value};
use tracing::{info, warn};

/// Maximum number of queued spans. Further ones are dropped.
const MAX_WAITING: usize = 8_192;
/// Maximum number of spans in one request.
const MAX_EXPORTED: usize = 512;
/// How long spans wait, so that several are sent together.
const DELAY: Duration = Duration::from_secs(1);
/// Time limit for the collector's answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Time limit for sending the queued spans when stopping.
const FLUSH: Duration = Duration::from_secs(2);

/// Where spans are sent, and the share of traces that is sampled.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// URL of the collector, for example `http://host:4317`.
    pub endpoint: String,
    /// Share of new traces that are sampled, from 0 to 1. For a trace that began at a caller, the
    /// caller has already decided.
    pub ratio: f64,
}

/// The exporter, so that it can be stopped.
#[derive(Clone, Debug)]
pub(crate) struct Exporting(Arc<BatchSpanProcessor>);

/// Starts the exporter, inside the current tokio runtime. The returned tracer creates the spans of
/// `tracing` ([`crate::bridge`]), which go to the same exporter.
pub(crate) fn start(
    service: &str,
    settings: &Traces,
) -> Result<(Exporting, SdkTracer), ExporterBuildError> {
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(&settings.endpoint)
        .with_timeout(TIMEOUT)
        .build()?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(MAX_WAITING)
        .with_max_export_batch_size(MAX_EXPORTED)
        .with_scheduled_delay(DELAY)
        .build();
    let exporter = Counted { exporter, away: AtomicBool::new(false) };
    let mut processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
    let resource = Resource::builder()
        .with_service_name(service.to_owned())
        .with_attributes([
            KeyValue::new("service.namespace", "saga"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance()),
        ])
        .build();
    processor.set_resource(&resource);
    let processor = Arc::new(processor);
    let tracer = tracer(Shared(Arc::clone(&processor)), resource);
    let scope = InstrumentationScope::builder("saga").build();
    saga_trace::install(Recorder { processor: Arc::clone(&processor), scope }, settings.ratio);
    Ok((Exporting(processor), tracer))
}

/// Creates a tracer that never begins a trace: it records a span only below a recorded one.
pub(crate) fn tracer(processor: impl SpanProcessor + 'static, resource: Resource) -> SdkTracer {
    SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
        .with_resource(resource)
        .with_span_processor(processor)
        .build()
        .tracer("tracing")
}

impl Exporting {
    /// Sends the spans that are still queued, within a time limit.
    pub(crate) async fn stop(self) {
        // This call blocks until the exporter's thread has ended.
        let _ = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH)).await;
    }
}

/// Returns an id for this process. Replicas on one machine differ in their process ids, and those
/// in containers differ in their host names.
fn instance() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}

/// The queue of spans, shared with the tracer's provider, which must own its processor.
#[derive(Debug)]
struct Shared(Arc<BatchSpanProcessor>);

impl SpanProcessor for Shared {
    fn on_start(&self, span: &mut opentelemetry_sdk::trace::Span, cx: &OtelContext) {
        self.0.on_start(span, cx);
    }

    fn on_end(&self, span: SpanData) {
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }
}

struct Recorder {
    processor: Arc<BatchSpanProcessor>,
    scope: InstrumentationScope,
}

impl Record for Recorder {
    fn record(&self, span: Span) {
        self.processor.on_end(translated(span, self.scope.clone()));
    }
}

fn translated(span: Span, scope: InstrumentationScope) -> SpanData {
    let mut links = SpanLinks::default();
    links.links.extend(span.links.iter().map(|to| Link::with_context(context(*to, true))));
    links.dropped_count = u32::try_from(span.links_left_out).unwrap_or(u32::MAX);
    SpanData {
        span_context: context(span.context, false),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: matches!(span.kind, Kind::Server | Kind::Consumer),
        span_kind: match span.kind {
            Kind::Internal => SpanKind::Internal,
            Kind::Server => SpanKind::Server,
            Kind::Client => SpanKind::Client,
            Kind::Producer => SpanKind::Producer,
            Kind::Consumer => SpanKind::Consumer,
        },
        name: span.name,
        start_time: span.began,
        end_time: span.ended.unwrap_or(span.began),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status: span.failure.map_or(Status::Unset, Status::error),
        instrumentation_scope: scope,
    }
}

pub(crate) fn context(context: saga_trace::Context, remote: bool) -> SpanContext {
    SpanContext::new(
        TraceId::from(context.trace()),
        SpanId::from(context.span()),
        TraceFlags::SAMPLED,
        remote,
        TraceState::NONE,
    )
}

fn attribute((key, value): (&'static str, Value)) -> KeyValue {
    let value: OtelValue = match value {
        Value::Text(text) => text.into(),
        Value::Number(number) => number.into(),
        Value::Flag(flag) => flag.into(),
    };
    KeyValue::new(key, value)
}

/// Counts exported spans, and logs when the collector becomes unreachable or reachable again.
#[derive(Debug)]
struct Counted<E> {
    exporter: E,
    away: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let exported = self.exporter.export(batch).await;
        let outcome = match &exported {
            Ok(()) => {
                if self.away.swap(false, Ordering::Relaxed) {
                    info!("the trace collector takes spans again");
                }
                "exported"
            }
            Err(error) => {
                if !self.away.swap(true, Ordering::Relaxed) {
                    warn!(%error, "the trace collector takes no spans: they are dropped until it does");
                }
                "dropped"
            }
        };
        counter!("saga_trace_spans_total", "outcome" => outcome).increment(spans);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
