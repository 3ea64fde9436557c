//! The state that all calls share.

use saga_core::{Instance, SagaId};
use saga_desk::{Caller, Desk};
use saga_engine::SagaReads;
use saga_proto::{
    inventory::v1::inventory_client::InventoryClient,
    order::v1::order_reads_client::OrderReadsClient,
};
use tonic::{Request, Status, service::interceptor::InterceptedService, transport::Channel};

use crate::{Settings, availability::Availability, product_pages::ProductPages, standing};

/// A channel to a service behind the front door. It sends the current trace context along.
pub(crate) type Neighbour =
    InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>;

/// Creates a [`Neighbour`] over a channel.
pub(crate) fn neighbour(channel: Channel) -> Neighbour {
    InterceptedService::new(channel, in_trace)
}

fn in_trace(mut request: Request<()>) -> Result<Request<()>, Status> {
    if let Some(here) = saga_trace::current()
        && let Ok(value) = here.to_string().parse()
    {
        request.metadata_mut().insert("traceparent", value);
    }
    Ok(request)
}

/// The shop's gRPC services, which answer the calls of its clients.
#[derive(Clone)]
pub(crate) struct Front<R> {
    pub(crate) desk: Desk<R>,
    pub(crate) orders: OrderReadsClient<Neighbour>,
    pub(crate) inventory: InventoryClient<Neighbour>,
    pub(crate) product_pages: ProductPages,
    pub(crate) payment: Availability,
    pub(crate) settings: Settings,
}

impl<R: SagaReads> Front<R> {
    /// Finds the saga of an order, if the order belongs to the caller.
    pub(crate) async fn find_order(
        &self,
        id: SagaId,
        caller: &Caller,
    ) -> Result<Option<Instance>, Status> {
        let mine = |saga: &Instance| standing::is_order(saga) && caller.owns(saga);
        Ok(self.desk.find(id).await?.filter(mine))
    }
}
