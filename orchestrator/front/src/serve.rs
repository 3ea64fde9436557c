//! The shop's gRPC server: the shop's services on top of an orchestrator's desk.

use std::sync::Arc;

use saga_core::Hosted;
use saga_desk::{Desk, ServeError};
use saga_engine::{Handle, SagaReads};
use saga_proto::{
    inventory::v1::inventory_client::InventoryClient,
    order::v1::order_reads_client::OrderReadsClient,
    shop::v1::{catalogue_server::CatalogueServer, orders_server::OrdersServer},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::{
    Settings,
    availability::Availability,
    front::{Front, neighbour},
    may,
    product_pages::ProductPages,
    settings::MAX_FORWARDED_BYTES,
};

/// The gRPC server of an orchestrator of the shop.
pub struct Server<R> {
    /// The engine to which requests are handed.
    pub handle: Handle,
    /// Reads the sagas' committed rows.
    pub reads: R,
    /// The definitions that the engine hosts. They provide the names of steps.
    pub hosted: Hosted,
    /// The services behind the front door.
    pub neighbours: Neighbours,
    /// The server's limits.
    pub settings: Settings,
}

/// The services behind the front door. Their channels connect at the first call, so a service need
/// not run when the server starts, and may be restarted at any time.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// The order service.
    pub order: Channel,
    /// The inventory service.
    pub inventory: Channel,
    /// The payment service.
    pub payment: Channel,
}

impl<R: SagaReads> Server<R> {
    /// Answers calls on `listener` until `shutdown`: see [`saga_desk::Server::serve`].
    ///
    /// # Errors
    /// [`ServeError`].
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let Self { handle, reads, hosted, neighbours, settings } = self;
        let payment = Availability::default();
        tokio::spawn(payment.clone().follow(neighbours.payment, shutdown.clone()));
        let desk = Desk::new(handle, reads, hosted, settings.desk.clone(), shutdown);
        let front = Arc::new(Front {
            desk: desk.clone(),
            orders: OrderReadsClient::new(neighbour(neighbours.order))
                .max_decoding_message_size(MAX_FORWARDED_BYTES),
            inventory: InventoryClient::new(neighbour(neighbours.inventory))
                .max_decoding_message_size(MAX_FORWARDED_BYTES),
            product_pages: ProductPages::new(settings.catalogue_cache),
            payment,
            settings,
        });
        let most = front.settings.desk.max_message_bytes;
        let orders = OrdersServer::from_arc(Arc::clone(&front)).max_decoding_message_size(most);
        let catalogue = CatalogueServer::from_arc(front).max_decoding_message_size(most);
        let server = saga_desk::Server::new(desk, &[saga_proto::DESCRIPTORS], may::LINES)?;
        server.with(orders).with(catalogue).serve(listener).await
    }
}
