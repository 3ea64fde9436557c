//! Sets up the logs, metrics and traces of a process.
//!
//! All other crates use only the facades `tracing`, `metrics` and `saga-trace`; this crate installs
//! their implementations. Between processes, W3C trace contexts travel in the messages, which this
//! crate does not know. Spans created with `#[tracing::instrument]` become part of these traces
//! (`bridge.rs`).
//!
//! Read first: [`Settings`] and [`start`].

mod bridge;
mod meaning;
mod traces;

use std::{io, net::SocketAddr, str::FromStr};

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tracing_subscriber::{
    EnvFilter, Layer, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

pub use traces::Traces;

/// Log targets that are always off. The AMQP client logs returned messages with their bodies, which
/// may hold secrets; our adapter logs what is needed. The HTTP/2 library and the crates that
/// use it can log frames and headers.
const QUIET: [&str; 5] = ["lapin", "sqlx::query", "h2", "hyper", "tonic"];

/// Upper bounds of the histogram buckets for durations, in seconds.
const SECONDS: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Upper bounds of the buckets for durations that may be as long as a saga, in seconds.
const LONG_SECONDS: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// The metrics that use [`LONG_SECONDS`].
const LONG: [&str; 2] = ["saga_seconds", "saga_step_seconds"];

/// Upper bounds of the histogram buckets for sizes.
const SIZES: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// The settings of logs, metrics and traces.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the process in traces, for example `saga-orchestrator`.
    pub service: String,
    /// Filter of log lines, for example `info` or `info,saga_engine=debug`.
    pub filter: String,
    /// Format of log lines.
    pub format: Format,
    /// Address at which `/metrics` is served for Prometheus, if any.
    pub metrics_listen: Option<SocketAddr>,
    /// Where spans are sent, if anywhere.
    pub traces: Option<Traces>,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    Human,
    /// One JSON object a line, for programs.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err("is neither \"human\" nor \"json\"".to_owned()),
        }
    }
}

/// The reasons why telemetry cannot be started. The setting has to be corrected.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The filter is malformed.
    #[error("the log filter {filter:?} is not understood: {source}")]
    Filter {
        /// The filter in the settings.
        filter: String,
        /// The mistake in the filter.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Metrics cannot be served at this address.
    #[error("cannot serve metrics on {0}: {1}")]
    Metrics(SocketAddr, metrics_exporter_prometheus::BuildError),
    /// The collector's address is malformed.
    #[error("cannot export traces to {0}: {1}")]
    Traces(String, opentelemetry_otlp::ExporterBuildError),
}

/// Telemetry that was started, so that it can be stopped.
#[derive(Debug)]
#[must_use = "what still waits is lost unless it is stopped"]
pub struct Telemetry {
    exporting: Option<traces::Exporting>,
}

impl Telemetry {
    /// Sends the spans that are still queued, within two seconds.
    pub async fn stop(self) {
        if let Some(exporting) = self.exporting {
            exporting.stop().await;
        }
    }
}

/// Starts logging to standard error, serving metrics and exporting spans. Call it once in a
/// process, inside its tokio runtime.
///
/// # Errors
/// [`StartError`].
pub fn start(settings: &Settings) -> Result<Telemetry, StartError> {
    let filter =
        QUIET.iter().fold(settings.filter.clone(), |all, quiet| format!("{all},{quiet}=off"));
    let filter = EnvFilter::try_new(&filter)
        .map_err(|source| StartError::Filter { filter: settings.filter.clone(), source })?;
    if let Some(address) = settings.metrics_listen {
        let long = LONG.into_iter().try_fold(PrometheusBuilder::new(), |builder, name| {
            builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), &LONG_SECONDS)
        });
        long.and_then(|b| {
            b.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        })
        .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_members".to_owned()), &SIZES))
        .and_then(|b| b.with_http_listener(address).install())
        .map_err(|error| StartError::Metrics(address, error))?;
        meaning::describe();
    }
    let start = |traces: &Traces| {
        traces::start(&settings.service, traces)
            .map_err(|error| StartError::Traces(traces.endpoint.clone(), error))
    };
    let (exporting, tracer) = settings.traces.as_ref().map(start).transpose()?.unzip();
    let logs = fmt::layer().with_writer(io::stderr);
    let logs = match settings.format {
        Format::Human => logs.boxed(),
        Format::Json => logs.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(logs.with_filter(filter))
        .with(tracer.map(bridge::layer))
        .init();
    Ok(Telemetry { exporting })
}
