//! A service's gRPC surface, in its callers' traces.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{self, Poll},
};

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

/// A service whose calls have spans if their callers record them.
#[derive(Clone)]
pub(super) struct Traced<G>(pub(super) G);

impl<G: NamedService> NamedService for Traced<G> {
    const NAME: &'static str = G::NAME;
}

impl<G> Service<Request<Body>> for Traced<G>
where
    G: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    G::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let traceparent = request.headers().get("traceparent").and_then(|text| text.to_str().ok());
        let method = request.uri().path().trim_start_matches('/');
        let mut call = Call::inside(method, traceparent);
        let answering = self.0.call(request);
        Box::pin(async move {
            let response = within(call.context(), answering).await?;
            // All of these methods have a single answer. A refusal is in its header; without one,
            // the call succeeded.
            let status = Status::from_header_map(response.headers());
            let code = status.map_or(Code::Ok, |status| status.code());
            call.answered(code.into(), code.description());
            Ok(response)
        })
    }
}
