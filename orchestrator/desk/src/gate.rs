//! The gate before every service: it identifies the caller, and looks up the table of methods and
//! roles. A method without a line is refused before the service sees the call.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use metrics::counter;
use saga_identity::{ACT, AUDITOR, Line, Peer, Table, VIEW, Who};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{
        Service,
        http::{Extensions, Request, Response},
    },
    server::NamedService,
    transport::server::TcpConnectInfo,
};

use crate::{
    caller::{Anonymous, Caller},
    status,
};

/// Who may call the methods of the operators' services. A dry run of an intervention needs [`VIEW`]
/// only, because it changes nothing. The methods themselves ask for [`ACT`] for any other request.
pub const LINES: &[Line] = &[
    line("saga.operations.v1.Sagas/GetSaga", Who::OneOf(&[VIEW, AUDITOR])),
    line("saga.operations.v1.Sagas/ListSagas", Who::OneOf(&[VIEW, AUDITOR])),
    line("saga.operations.v1.Sagas/Intervene", Who::OneOf(&[VIEW])),
    line("saga.operations.v1.Sagas/InterveneAll", Who::OneOf(&[VIEW])),
    line("saga.operations.v1.Quarantine/ListQuarantined", Who::OneOf(&[VIEW, AUDITOR])),
    line("saga.operations.v1.Quarantine/GetQuarantined", Who::OneOf(&[VIEW])),
    line("saga.operations.v1.Quarantine/SettleQuarantined", Who::OneOf(&[ACT])),
];

/// The lines of the services that tonic brings along.
pub(crate) const LINES_OF_TONIC: &[Line] = &[
    line("grpc.health.v1.Health/Check", Who::Anybody),
    line("grpc.health.v1.Health/Watch", Who::AnyPrincipal),
    line("grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Who::AnyPrincipal),
];

const fn line(method: &'static str, who: Who) -> Line {
    Line { method, who }
}

/// What the gates of all services share.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) table: Table,
    pub(crate) anonymous: Anonymous,
}

impl Rules {
    /// Checks a call, and adds its [`Caller`] to the extensions.
    fn admit(&self, request: &mut Request<Body>) -> Result<(), Status> {
        let who = self.table.find(request.uri().path());
        if who == Some(Who::Anybody) {
            return Ok(());
        }
        let from = peer(request.extensions());
        let caller = Caller::identify(request.headers(), from, &self.anonymous)?;
        let who = who.ok_or_else(|| Status::unimplemented("there is no such method"))?;
        who.admits(&caller.principal().roles).map_err(status::role_missing)?;
        request.extensions_mut().insert(caller);
        Ok(())
    }
}

/// Returns the other end of a call's connection.
fn peer(extensions: &Extensions) -> Option<Peer> {
    let tcp = || extensions.get::<TcpConnectInfo>()?.remote_addr().map(Peer::Tcp);
    extensions.get::<Peer>().copied().or_else(tcp)
}

/// Lists the methods that have no line, and the lines of these services that have no method. Both
/// lists are empty unless a method was added, renamed or removed without its line.
pub(crate) fn drift<'a>(methods: impl IntoIterator<Item = &'a str>, lines: &[Line]) -> Vec<String> {
    let methods: Vec<&str> = methods.into_iter().collect();
    let lines: Vec<&str> = lines.iter().map(|line| line.method).collect();
    let without_line = methods.iter().filter(|method| !lines.contains(method));
    let without_method = lines.iter().filter(|line| !methods.contains(line));
    without_line
        .map(|method| format!("{method} has no line"))
        .chain(without_method.map(|line| format!("{line} is no method")))
        .collect()
}

/// A service behind the gate.
#[derive(Clone)]
pub(crate) struct Gate<G> {
    pub(crate) service: G,
    pub(crate) rules: Arc<Rules>,
}

impl<G: NamedService> NamedService for Gate<G> {
    const NAME: &'static str = G::NAME;
}

impl<G> Service<Request<Body>> for Gate<G>
where
    G: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    G::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.rules.admit(&mut request) {
            Ok(()) => Box::pin(self.service.call(request)),
            Err(refusal) => {
                if matches!(refusal.code(), Code::Unauthenticated | Code::PermissionDenied) {
                    counter!("saga_calls_refused_total").increment(1);
                }
                Box::pin(std::future::ready(Ok(refusal.into_http())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metered::methods;

    #[test]
    fn every_method_has_one_line_and_every_line_a_method() {
        let of = |set| methods(set).expect("descriptors");
        let own = of(saga_operations::DESCRIPTORS);
        assert_eq!(drift(own.iter().map(String::as_str), LINES), [""; 0]);
        let brought =
            [tonic_health::pb::FILE_DESCRIPTOR_SET, tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET];
        let brought: Vec<String> = brought.into_iter().flat_map(of).collect();
        assert_eq!(drift(brought.iter().map(String::as_str), LINES_OF_TONIC), [""; 0]);
    }

    #[test]
    fn a_method_without_a_line_is_noticed_and_so_is_a_line_without_a_method() {
        let lines = [line("a.A/Old", Who::AnyPrincipal), line("a.A/Get", Who::AnyPrincipal)];
        let found = drift(["a.A/Get", "a.A/New"], &lines);
        assert_eq!(found, ["a.A/New has no line", "a.A/Old is no method"]);
    }
}
