//! From a listener to four services, until shutdown.

use std::sync::Arc;

use saga_core::Hosted;
use saga_engine::{Handle, SagaReads};
use saga_proto::{
    inventory::v1::inventory_client::InventoryClient,
    operations::v1::{quarantine_server::QuarantineServer, sagas_server::SagasServer},
    order::v1::order_reads_client::OrderReadsClient,
    shop::v1::{catalogue_server::CatalogueServer, orders_server::OrdersServer},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, server::Router},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{info, warn};

use crate::{
    Settings,
    availability::Availability,
    caller, connections,
    front::{Front, neighbour},
    product_pages::ProductPages,
    settings::{MAX_FORWARDED_BYTES, MAX_LOOK_UPS},
};

/// The gRPC server of an orchestrator.
pub struct Server<R> {
    /// The engine that gets the requests.
    pub handle: Handle,
    /// The sagas' committed rows.
    pub reads: R,
    /// The definitions that the engine hosts. They know the names of steps.
    pub hosted: Hosted,
    /// The services behind it.
    pub neighbours: Neighbours,
    /// Its limits.
    pub settings: Settings,
}

/// The services behind the front door. Their channels are lazy: no service needs to run when the
/// server starts, nor all the time.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// The order service.
    pub order: Channel,
    /// The inventory service.
    pub inventory: Channel,
    /// The payment service.
    pub payment: Channel,
}

/// The server cannot go on. Nothing is lost: start another one.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport failed.
    #[error("the gRPC server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The contract's descriptors do not decode: a broken build.
    #[error("the contract cannot be reflected: {0}")]
    Descriptors(#[from] tonic_reflection::server::Error),
}

impl<R: SagaReads> Server<R> {
    /// Answers calls on `listener` until `shutdown`, then finishes calls that have begun, within
    /// [`Settings::drain`]. Calls that wait or watch are answered at once.
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let payment = Availability::default();
        let asking = payment.clone().follow(self.neighbours.payment.clone(), shutdown.clone());
        tokio::spawn(asking);
        let (settings, address) = (self.settings.clone(), listener.local_addr());
        let (router, health) = self.router(payment, shutdown.clone()).await?;
        let incoming = connections::accept(listener, settings.max_connections);
        let stop = shutdown.clone();
        let serving = router.serve_with_incoming_shutdown(incoming, async move {
            stop.cancelled().await;
            report::<R>(&health, ServingStatus::NotServing).await;
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

    async fn router(
        self,
        payment: Availability,
        shutdown: CancellationToken,
    ) -> Result<(Router, HealthReporter), ServeError> {
        let Self { handle, reads, hosted, neighbours, settings } = self;
        let front = Arc::new(Front {
            handle,
            reads,
            hosted,
            orders: OrderReadsClient::new(neighbour(neighbours.order))
                .max_decoding_message_size(MAX_FORWARDED_BYTES),
            inventory: InventoryClient::new(neighbour(neighbours.inventory))
                .max_decoding_message_size(MAX_FORWARDED_BYTES),
            product_pages: ProductPages::new(settings.catalogue_cache),
            payment,
            looking_up: Arc::new(Semaphore::new(MAX_LOOK_UPS)),
            waiting: Arc::new(Semaphore::new(settings.max_waiting)),
            settings: settings.clone(),
            shutdown,
        });
        let most = settings.max_message_bytes;
        let orders = OrdersServer::from_arc(Arc::clone(&front)).max_decoding_message_size(most);
        let catalogue =
            CatalogueServer::from_arc(Arc::clone(&front)).max_decoding_message_size(most);
        let quarantine =
            QuarantineServer::from_arc(Arc::clone(&front)).max_decoding_message_size(most);
        let sagas = SagasServer::from_arc(front).max_decoding_message_size(most);
        let (reporter, health) = tonic_health::server::health_reporter();
        report::<R>(&reporter, ServingStatus::Serving).await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(saga_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()?;
        let router = tonic::transport::Server::builder()
            .max_concurrent_streams(settings.max_concurrent_streams)
            .http2_max_header_list_size(settings.max_header_bytes)
            .http2_max_pending_accept_reset_streams(Some(settings.max_pending_resets))
            .http2_max_local_error_reset_streams(Some(settings.max_pending_resets))
            .http2_keepalive_interval(Some(settings.keepalive_interval))
            .http2_keepalive_timeout(Some(settings.keepalive_timeout))
            .add_service(health)
            .add_service(reflection)
            .add_service(InterceptedService::new(orders, caller::intercept))
            .add_service(InterceptedService::new(catalogue, caller::intercept))
            .add_service(InterceptedService::new(quarantine, caller::intercept))
            .add_service(InterceptedService::new(sagas, caller::intercept));
        Ok((router, reporter))
    }
}

/// Reports the status through the health service. The empty name is the server as a whole.
async fn report<R: SagaReads>(health: &HealthReporter, status: ServingStatus) {
    use tonic::server::NamedService;
    for service in [
        "",
        OrdersServer::<Front<R>>::NAME,
        CatalogueServer::<Front<R>>::NAME,
        SagasServer::<Front<R>>::NAME,
        QuarantineServer::<Front<R>>::NAME,
    ] {
        health.set_service_status(service, status).await;
    }
}
