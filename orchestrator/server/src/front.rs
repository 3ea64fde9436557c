//! The state that all calls share.

use std::sync::Arc;

use saga_core::{Hosted, Instance, SagaId};
use saga_engine::{Handle, NewSaga, Placed, SagaReads};
use saga_proto::{
    inventory::v1::inventory_client::InventoryClient,
    order::v1::order_reads_client::OrderReadsClient,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status, service::interceptor::InterceptedService, transport::Channel};

use crate::{
    Caller, Settings, availability::Availability, product_pages::ProductPages, standing, status,
};

/// A channel to a service behind the front door, which passes the trace context on.
pub(crate) type Neighbour =
    InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>;

/// Makes a [`Neighbour`].
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

/// Answers the calls of all four services.
#[derive(Clone)]
pub(crate) struct Front<R> {
    pub(crate) handle: Handle,
    pub(crate) reads: R,
    pub(crate) hosted: Hosted,
    pub(crate) orders: OrderReadsClient<Neighbour>,
    pub(crate) inventory: InventoryClient<Neighbour>,
    pub(crate) product_pages: ProductPages,
    pub(crate) payment: Availability,
    /// Permits for callers that wait or watch at once.
    pub(crate) waiting: Arc<Semaphore>,
    /// Permits for calls that look up a key while new sagas are refused.
    pub(crate) looking_up: Arc<Semaphore>,
    pub(crate) settings: Settings,
    pub(crate) shutdown: CancellationToken,
}

impl<R: SagaReads> Front<R> {
    /// Hands a new saga to the engine, unless `open` refuses new ones. A known key is answered
    /// either way (semantics 24), so that a caller whose saga was accepted, but who missed the
    /// answer, is not told to come again.
    pub(crate) async fn begin(
        &self,
        saga: NewSaga,
        open: Result<(), Status>,
        what: &'static str,
    ) -> Result<Placed, Status> {
        let Err(refusal) = open else {
            let placed = self.handle.requests.place(saga).await;
            return placed.map_err(|error| status::of_request(&error, what, "", ""));
        };
        let Ok(_place) = self.looking_up.try_acquire() else { return Err(refusal) };
        match self.handle.requests.known(saga.key).await {
            Ok(Some(known)) => Ok(known),
            Ok(None) | Err(_) => Err(refusal),
        }
    }

    pub(crate) async fn find(&self, id: SagaId) -> Result<Option<Instance>, Status> {
        find(&self.reads, id).await
    }

    /// The saga of an order, if the order is the caller's.
    pub(crate) async fn find_order(
        &self,
        id: SagaId,
        caller: &Caller,
    ) -> Result<Option<Instance>, Status> {
        let mine = |saga: &Instance| standing::is_order(saga) && caller.owns(saga);
        Ok(self.find(id).await?.filter(mine))
    }
}

pub(crate) async fn find<R: SagaReads>(reads: &R, id: SagaId) -> Result<Option<Instance>, Status> {
    let found = reads.find(&[id]).await.map_err(|failure| status::of_failure(&failure))?;
    Ok(found.into_iter().next())
}
