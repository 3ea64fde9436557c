//! Serves the gRPC services on a listener, until shutdown.

use std::{sync::Arc, time::Duration};

use metrics::counter;
use saga_engine::SagaReads;
use saga_identity::{Line, Table};
use saga_operations::v1::{quarantine_server::QuarantineServer, sagas_server::SagasServer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    codegen::{
        Service,
        http::{Request, Response},
    },
    server::NamedService,
    service::RoutesBuilder,
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{info, warn};

use crate::{
    Desk, Metered, Settings, connections,
    gate::{Gate, LINES, LINES_OF_TONIC, Rules, drift},
    metered::{Methods, methods},
    settings::HEALTH_INTERVAL,
};

/// The gRPC server of an orchestrator. It serves health, reflection, the operators' services, and
/// the services that a front door adds.
pub struct Server {
    settings: Settings,
    shutdown: CancellationToken,
    /// Time since the store answered last.
    store_age: Box<dyn Fn() -> Duration + Send + Sync>,
    methods: Methods,
    lines: Vec<Line>,
    rules: Arc<Rules>,
    descriptors: Vec<&'static [u8]>,
    routes: RoutesBuilder,
    names: Vec<&'static str>,
}

/// The reasons why the server cannot go on. No data is lost: start another server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport failed.
    #[error("the gRPC server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The contract's descriptors cannot be decoded: the build is broken.
    #[error("the contract cannot be reflected: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The contract's descriptors cannot be decoded: the build is broken.
    #[error("the contract cannot be read: {0}")]
    Descriptors(#[from] prost::DecodeError),
    /// The table of methods and roles does not fit the contracts: the build is broken.
    #[error("the table of methods and roles does not fit the contract: {0}")]
    Lines(String),
}

impl Server {
    /// Creates a server with the operators' services at this desk. `contracts` are the encoded
    /// descriptors of the services that will be added, and `lines` say who may call their methods.
    /// Each method of a service that is added needs one line: see [`Self::serve`].
    ///
    /// # Errors
    /// [`ServeError::Descriptors`].
    pub fn new<R: SagaReads>(
        desk: Desk<R>,
        contracts: &[&'static [u8]],
        lines: &[Line],
    ) -> Result<Self, ServeError> {
        let descriptors: Vec<_> =
            [saga_operations::DESCRIPTORS].into_iter().chain(contracts.iter().copied()).collect();
        let known: Result<Vec<_>, _> = descriptors.iter().map(|set| methods(set)).collect();
        let known: Vec<String> = known?.into_iter().flatten().collect();
        let lines = [LINES, lines].concat();
        let rules = Rules {
            table: Table::default().with(&lines).with(LINES_OF_TONIC),
            anonymous: desk.settings.anonymous.clone(),
        };
        let server = Self {
            settings: desk.settings.clone(),
            shutdown: desk.shutdown.clone(),
            store_age: Box::new({
                let handle = desk.handle.clone();
                move || handle.store_age()
            }),
            methods: Arc::new(known.into_iter().collect()),
            lines,
            rules: Arc::new(rules),
            descriptors,
            routes: RoutesBuilder::default(),
            names: Vec::new(),
        };
        let (desk, most) = (Arc::new(desk), server.settings.max_message_bytes);
        Ok(server
            .with(SagasServer::from_arc(Arc::clone(&desk)).max_decoding_message_size(most))
            .with(QuarantineServer::from_arc(desk).max_decoding_message_size(most)))
    }

    /// Adds a service. Its calls have a [`Caller`](crate::Caller), and are counted and traced.
    #[must_use]
    pub fn with<G>(mut self, service: G) -> Self
    where
        G: Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        G::Future: Send + 'static,
    {
        let service = Gate { service, rules: Arc::clone(&self.rules) };
        self.routes.add_service(Metered::edge(service, Arc::clone(&self.methods)));
        self.names.push(G::NAME);
        self
    }

    /// Answers calls on `listener` until the desk's shutdown, then lets calls that have begun
    /// finish within [`Settings::drain`]. At shutdown, calls that wait or watch are answered at
    /// once.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve(self, listener: TcpListener) -> Result<(), ServeError> {
        // It must export zero, not a gap, before any call is refused.
        counter!("saga_calls_refused_total").increment(0);
        let Self {
            settings,
            shutdown,
            store_age,
            methods,
            lines,
            rules,
            descriptors,
            mut routes,
            names,
        } = self;
        let is_served = |method: &&str| {
            method.split_once('/').is_some_and(|(service, _)| names.contains(&service))
        };
        let drift = drift(methods.iter().map(String::as_str).filter(is_served), &lines);
        if !drift.is_empty() {
            return Err(ServeError::Lines(drift.join(", ")));
        }
        let (health, health_service) = tonic_health::server::health_reporter();
        report(&health, &names, ServingStatus::Serving).await;
        let reflection = descriptors
            .into_iter()
            .chain([tonic_health::pb::FILE_DESCRIPTOR_SET])
            .fold(tonic_reflection::server::Builder::configure(), |builder, set| {
                builder.register_encoded_file_descriptor_set(set)
            })
            .build_v1()?;
        routes
            .add_service(Gate { service: health_service, rules: Arc::clone(&rules) })
            .add_service(Gate { service: reflection, rules });
        let router = tonic::transport::Server::builder()
            .max_concurrent_streams(settings.max_concurrent_streams)
            .http2_max_header_list_size(settings.max_header_bytes)
            .http2_max_pending_accept_reset_streams(Some(settings.max_pending_resets))
            .http2_max_local_error_reset_streams(Some(settings.max_pending_resets))
            .http2_keepalive_interval(Some(settings.keepalive_interval))
            .http2_keepalive_timeout(Some(settings.keepalive_timeout))
            .add_routes(routes.routes());
        let address = listener.local_addr();
        let incoming = connections::accept(listener, settings.max_connections);
        let stop = shutdown.clone();
        let serving = router.serve_with_incoming_shutdown(incoming, async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = follow(&health, &names, || store_age() < settings.most_store_age) => {}
            }
            report(&health, &names, ServingStatus::NotServing).await;
        });
        if let Ok(address) = address {
            info!(%address, "answers gRPC");
        }
        let overdue = async {
            shutdown.cancelled().await;
            tokio::time::sleep(settings.drain).await;
        };
        tokio::select! {
            served = serving => served?,
            () = overdue => warn!("calls were cut off: they took too long to end"),
        }
        info!("has stopped answering gRPC");
        Ok(())
    }
}

/// Reports whether the store answers, for as long as the server runs: one that cannot read or write
/// sagas serves nobody, and whoever balances calls should send them elsewhere.
async fn follow(health: &HealthReporter, names: &[&'static str], answers: impl Fn() -> bool) {
    let mut was_serving = true;
    loop {
        tokio::time::sleep(HEALTH_INTERVAL).await;
        let serving = answers();
        if serving != was_serving {
            warn!(serving, "health follows the database, which answers or has not for a while");
            let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
            report(health, names, status).await;
            was_serving = serving;
        }
    }
}

/// Reports a status through the health service. The empty name stands for the whole server.
async fn report(health: &HealthReporter, names: &[&'static str], status: ServingStatus) {
    for service in names.iter().copied().chain([""]) {
        health.set_service_status(service, status).await;
    }
}
