//! Export of spans: OTLP over gRPC.
//!
//! Losing spans harms nobody: the queue is bounded, and spans that do not fit are dropped. A
//! collector that is away is logged once, not every five seconds.

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

/// Spans that may wait; further ones are dropped.
const MAX_WAITING: usize = 8_192;
/// Spans in one request.
const MAX_EXPORTED: usize = 512;
/// Time that spans wait to be sent together.
const DELAY: Duration = Duration::from_secs(1);
/// Time limit for the collector's answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Time limit for sending the last spans when stopping.
const FLUSH: Duration = Duration::from_secs(2);

/// The destination of spans, and the share that is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// The collector: `http://host:4317`.
    pub endpoint: String,
    /// Share of new traces that are sampled, from 0 to 1. If the caller has a trace, the caller has
    /// decided already.
    pub ratio: f64,
}

/// The exporter, so that it can be stopped.
#[derive(Clone, Debug)]
pub(crate) struct Exporting(Arc<BatchSpanProcessor>);

/// Starts exporting. The tracer makes the spans of `tracing` ([`crate::bridge`]), which are
/// exported the same way. Needs the tokio runtime that it is called in.
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

/// A tracer that never begins a trace: it records only spans below recorded ones.
pub(crate) fn tracer(processor: impl SpanProcessor + 'static, resource: Resource) -> SdkTracer {
    SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
        .with_resource(resource)
        .with_span_processor(processor)
        .build()
        .tracer("tracing")
}

impl Exporting {
    /// Sends the spans that still wait, within a time limit.
    pub(crate) async fn stop(self) {
        // It blocks until its thread has ended.
        let _ = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH)).await;
    }
}

/// An id of this process: replicas on one machine differ by their process id, those in containers
/// by their host name.
fn instance() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}

/// The one queue of spans, in a form that the tracer's provider can own.
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

/// Counts exported spans, and logs when the collector goes away and comes back.
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
