//! A trace collector that keeps the spans that it receives.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

/// A span as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) service: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// The parent's id, empty for a root span.
    pub(crate) parent: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) attributes: BTreeMap<String, String>,
    /// The ids of the traces and spans that this span is linked to.
    pub(crate) links: Vec<(String, String)>,
}

impl Received {
    pub(crate) fn is(&self, key: &str, value: &str) -> bool {
        self.attributes.get(key).is_some_and(|found| found == value)
    }
}

/// A collector that runs until it is dropped.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    kept: Kept,
    serving: JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().expect("not poisoned").push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let kept = Kept::default();
        let service = TraceServiceServer::new(kept.clone());
        let serving = tokio::spawn(async move {
            let incoming = TcpIncoming::from(listener);
            let served = tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(incoming)
                .await;
            served.expect("the collector serves until it is dropped");
        });
        Ok(Self { endpoint, kept, serving })
    }

    /// Returns all spans that have arrived.
    pub(crate) fn spans(&self) -> Vec<Received> {
        let requests = self.kept.0.lock().expect("not poisoned");
        let resources = requests.iter().flat_map(|request| &request.resource_spans);
        let spans = resources.flat_map(|resource| {
            let attributes = resource.resource.as_ref().map(|r| attributes(&r.attributes));
            let service = attributes.and_then(|mut a| a.remove("service.name")).unwrap_or_default();
            let spans = resource.scope_spans.iter().flat_map(|scope| &scope.spans);
            spans.map(move |span| received(service.clone(), span))
        });
        spans.collect()
    }

    /// Returns everything that has arrived as one text, to be searched.
    pub(crate) fn text(&self) -> String {
        format!("{:?}", self.kept.0.lock().expect("not poisoned"))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn received(service: String, span: &Span) -> Received {
    Received {
        service,
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        name: span.name.clone(),
        kind: span.kind(),
        attributes: attributes(&span.attributes),
        links: span.links.iter().map(|to| (hex(&to.trace_id), hex(&to.span_id))).collect(),
    }
}

fn attributes(list: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|v| v.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    list.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
