//! Runs a service over any adapters: a participant, and a few reads over gRPC.

use std::{convert::Infallible, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use saga_desk::Metered;
use saga_kit::{Participant, Settings, Store};
use saga_messaging::Transport;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    codegen::{Service as TowerService, http},
    server::NamedService,
    transport::{Server, server::TcpIncoming},
};

use crate::config::Account;

/// A gRPC service that tonic can serve. The trait is short for these bounds.
pub(super) trait GrpcService:
    TowerService<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
    + NamedService
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<G> GrpcService for G where
    G: TowerService<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Handles commands and serves reads until shutdown. If one of the two ends, the other one is ended
/// too, because half a service is of no use.
pub(super) async fn run<S: Store, T: Transport, G>(
    participant: Participant<S>,
    service: G,
    transport: T,
    listener: TcpListener,
    least_retention: Duration,
    shutdown: CancellationToken,
) -> anyhow::Result<()>
where
    G: GrpcService,
    G::Future: Send + 'static,
{
    let stop = shutdown.child_token();
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<G>().await;
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let served = Server::builder()
                .add_service(health_service)
                .add_service(Metered::inside(service))
                .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned())
                .await;
            stop.cancel();
            served
        }
    });
    let kit = Settings { least_retention, ..Settings::default() };
    participant.run(transport, kit, stop.clone()).await;
    stop.cancel();
    serving.await?.with_context(|| format!("the gRPC server {}", G::NAME))?;
    // The role fails, so that the supervisor that started it starts it again.
    ensure!(shutdown.is_cancelled(), "the participant has ended by itself");
    Ok(())
}

/// Creates a client of the payment provider. A task probes the provider while it is unreachable.
pub(super) fn provider(
    account: Account,
    shutdown: &CancellationToken,
) -> anyhow::Result<Arc<saga_payment::Provider>> {
    let settings = saga_payment::ProviderSettings {
        timeout: account.timeout,
        http2: account.http2,
        breaker: account.breaker,
        ..saga_payment::ProviderSettings::new(account.url)
    };
    let provider = Arc::new(saga_payment::Provider::new(settings)?);
    tokio::spawn(Arc::clone(&provider).keep_probing(shutdown.clone()));
    Ok(provider)
}
