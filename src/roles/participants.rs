//! The three services: each a participant, and a few reads over gRPC.

use std::{convert::Infallible, sync::Arc};

use anyhow::Context as _;
use saga_kit::{Participant, Settings, Store};
use saga_postgres::{INBOX, Inbox};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    body::Body,
    codegen::{Service as TowerService, http},
    server::NamedService,
    transport::{Server, server::TcpIncoming},
};

use super::{broker, database, listen};
use crate::config::{Broker, Payment, Service};

/// `saga order`
pub(crate) async fn order(settings: Service, shutdown: CancellationToken) -> anyhow::Result<()> {
    let parts = [&INBOX, &saga_order::MIGRATIONS];
    let pool = database(&settings.database, "order", settings.connections, &parts).await?;
    let listener = listen(settings.listen, "order").await?;
    let participant = saga_order::participant(Inbox::new(pool.clone()));
    let reads = saga_order::grpc::service(saga_order::table::postgres::PostgresReads::new(pool));
    run(participant, "order", &settings.broker, listener, reads, shutdown).await
}

/// `saga inventory`
pub(crate) async fn inventory(
    settings: Service,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let parts = [&INBOX, &saga_inventory::MIGRATIONS];
    let pool = database(&settings.database, "inventory", settings.connections, &parts).await?;
    let listener = listen(settings.listen, "inventory").await?;
    let store = Inbox::new(pool.clone());
    let participant = saga_inventory::participant(store.clone());
    let catalogue = saga_inventory::table::postgres::PostgresCatalogue::new(pool);
    let catalogue = saga_inventory::grpc::service(store, catalogue);
    run(participant, "inventory", &settings.broker, listener, catalogue, shutdown).await
}

/// `saga payment`
pub(crate) async fn payment(settings: Payment, shutdown: CancellationToken) -> anyhow::Result<()> {
    let Payment { service: settings, provider_url, provider_timeout } = settings;
    let parts = [&INBOX, &saga_payment::MIGRATIONS];
    let pool = database(&settings.database, "payment", settings.connections, &parts).await?;
    let listener = listen(settings.listen, "payment").await?;
    let provider = Arc::new(saga_payment::Provider::new(saga_payment::ProviderSettings {
        timeout: provider_timeout,
        ..saga_payment::ProviderSettings::new(provider_url)
    })?);
    let participant = saga_payment::participant(Inbox::new(pool), Arc::clone(&provider));
    let availability = saga_payment::grpc::service(provider);
    run(participant, "payment", &settings.broker, listener, availability, shutdown).await
}

/// Takes commands and serves reads until shutdown. If one of the two ends, so
/// does the other: half a service serves nobody.
async fn run<S: Store, G>(
    participant: Participant<S>,
    role: &'static str,
    settings: &Broker,
    listener: TcpListener,
    service: G,
    shutdown: CancellationToken,
) -> anyhow::Result<()>
where
    G: TowerService<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    G::Future: Send + 'static,
{
    let transport = broker(settings, role).await?;
    let stop = shutdown.child_token();
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<G>().await;
    let serving = tokio::spawn({
        let stop = stop.clone();
        async move {
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            let served = Server::builder()
                .add_service(health_service)
                .add_service(service)
                .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned())
                .await;
            stop.cancel();
            served
        }
    });
    participant.run(transport.clone(), Settings::default(), stop.clone()).await;
    stop.cancel();
    transport.close().await;
    serving.await?.with_context(|| format!("the gRPC server of {role}"))
}
