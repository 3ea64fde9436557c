//! Counts and times the calls of a gRPC service, and connects them with their callers' traces.

use std::{
    collections::HashSet,
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{self, Poll},
    time::Instant,
};

use metrics::{counter, histogram};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use saga_trace::{Call, within};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{
        Service,
        http::{Request, Response},
    },
    server::NamedService,
};

use crate::metadata::trace_header;

/// A service whose calls are measured and traced.
///
/// A call is measured until its answer begins. The later updates of a stream are not.
#[derive(Clone)]
pub struct Metered<G> {
    service: G,
    place: Place,
}

/// Where a service's calls come from.
#[derive(Clone)]
enum Place {
    /// From outside the system. A trace may begin here, and calls of these methods are counted.
    Edge(Methods),
    /// From inside the system. A call is traced only if its caller records a trace.
    Inside,
}

/// Full names of methods, such as `saga.operations.v1.Sagas/GetSaga`. A caller can choose any path,
/// and a path that is not one of these names must not become a label of a metric.
pub(crate) type Methods = Arc<HashSet<String>>;

/// Lists the methods of all services in a set of encoded descriptors.
pub(crate) fn methods(descriptors: &[u8]) -> Result<Vec<String>, prost::DecodeError> {
    let set = FileDescriptorSet::decode(descriptors)?;
    let of_file = |file: &prost_types::FileDescriptorProto| {
        let package = file.package().to_owned();
        let services = file.service.clone();
        services.into_iter().flat_map(move |service| {
            let full = format!("{package}.{}", service.name());
            service.method.into_iter().map(move |method| format!("{full}/{}", method.name()))
        })
    };
    Ok(set.file.iter().flat_map(of_file).collect())
}

impl<G> Metered<G> {
    /// Wraps a service that is called from inside the system.
    pub fn inside(service: G) -> Self {
        Self { service, place: Place::Inside }
    }

    /// Wraps a service that is called from outside.
    pub(crate) fn edge(service: G, methods: Methods) -> Self {
        Self { service, place: Place::Edge(methods) }
    }
}

impl<G: NamedService> NamedService for Metered<G> {
    const NAME: &'static str = G::NAME;
}

impl<G, B> Service<Request<Body>> for Metered<G>
where
    G: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    G::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let began = Instant::now();
        let method = request.uri().path().trim_start_matches('/').to_owned();
        let traceparent = trace_header(request.headers());
        let (mut call, counted) = match &self.place {
            Place::Edge(methods) if methods.contains(&method) => {
                (Call::entry(&method, traceparent), true)
            }
            Place::Edge(_) | Place::Inside => (Call::inside(&method, traceparent), false),
        };
        let answering = within(call.context(), self.service.call(request));
        Box::pin(async move {
            let response = answering.await?;
            // If a call was refused, its status is in the headers. Without a status, it succeeded.
            let status = Status::from_header_map(response.headers());
            let code = status.map_or(Code::Ok, |status| status.code());
            call.answered(code.into(), code.description());
            if counted {
                let (_, name) = method.split_once('/').unwrap_or(("", &method));
                let name = name.to_owned();
                counter!("saga_calls_total", "method" => name.clone(), "code" => format!("{code:?}"))
                    .increment(1);
                histogram!("saga_call_seconds", "method" => name)
                    .record(began.elapsed().as_secs_f64());
            }
            Ok(response)
        })
    }
}
