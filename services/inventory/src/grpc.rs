//! The catalogue over gRPC. Orchestrators forward their clients' calls to it.

use std::time::Duration;

use saga_core::Failure;
use saga_kit::Store;
use saga_proto::inventory::v1::{
    Product as Message, ReadProductsRequest, ReadProductsResponse, ReceiveStockRequest,
    inventory_server::{Inventory, InventoryServer},
};
use tonic::{Request, Response, Status};
use tracing::error;

use crate::{
    receipt::{NotReceived, Receipt},
    rule::{Levels, Product},
    table::{Catalogue, Claim, Shelf},
};

/// Maximum number of products on a page. The client's contract names this number.
const MAX_PAGE: u32 = 500;
/// How often a receipt is tried before its sender has to try again. A try can fail because another
/// receipt of the same product is committed first.
const RECEIVE_TRIES: u32 = 6;
/// Pause before the second try. It doubles with each further try.
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Creates the gRPC service over a store that has the service's tables, and a reader of them.
pub fn service<S, C>(store: S, catalogue: C) -> InventoryServer<Grpc<S, C>>
where
    S: Store,
    S::Tx: Shelf,
    C: Catalogue,
{
    InventoryServer::new(Grpc { store, catalogue })
}

/// The gRPC service, which answers reads and receives goods.
#[derive(Debug)]
pub struct Grpc<S, C> {
    store: S,
    catalogue: C,
}

#[tonic::async_trait]
impl<S, C> Inventory for Grpc<S, C>
where
    S: Store,
    S::Tx: Shelf,
    C: Catalogue,
{
    async fn read_products(
        &self,
        request: Request<ReadProductsRequest>,
    ) -> Result<Response<ReadProductsResponse>, Status> {
        let ReadProductsRequest { after, limit } = request.into_inner();
        let limit = u32::try_from(limit).unwrap_or(0);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Status::invalid_argument(format!("limit is not 1 to {MAX_PAGE}")));
        }
        if after.contains('\0') {
            return Err(Status::invalid_argument("after is no SKU"));
        }
        let page = self.catalogue.page(&after, limit).await.map_err(|failure| refuse(&failure))?;
        let products = page.into_iter().map(message).collect();
        Ok(Response::new(ReadProductsResponse { products }))
    }

    async fn receive_stock(
        &self,
        request: Request<ReceiveStockRequest>,
    ) -> Result<Response<Message>, Status> {
        let receipt = Receipt::read(request.into_inner()).map_err(Status::invalid_argument)?;
        // If the caller disconnects, this future is dropped. The transaction must not be cut off in
        // the middle, so it runs in its own task.
        let received = tokio::spawn(persist(self.store.clone(), receipt)).await;
        let received = received.map_err(|error| {
            error!(%error, "receiving goods panicked");
            Status::internal("the goods cannot be received")
        })?;
        received.map(|product| Response::new(message(product)))
    }
}

/// Tries a receipt until it is committed, at most [`RECEIVE_TRIES`] times. If the answer to a
/// commit was lost, the next try finds that the receipt is already there.
async fn persist<S>(store: S, receipt: Receipt) -> Result<Product, Status>
where
    S: Store,
    S::Tx: Shelf,
{
    let (mut tries, mut pause) = (1, FIRST_PAUSE);
    loop {
        match receive(&store, &receipt).await {
            Err(Unreceived::Store(Failure::Conflict(_) | Failure::UnknownCommit(_)))
                if tries < RECEIVE_TRIES =>
            {
                tokio::time::sleep(pause).await;
                (tries, pause) = (tries + 1, pause * 2);
            }
            Ok(product) => return Ok(product),
            Err(Unreceived::Refused(status)) => return Err(status),
            Err(Unreceived::Store(failure)) => return Err(refuse(&failure)),
        }
    }
}

enum Unreceived {
    Store(Failure),
    Refused(Status),
}

impl From<Failure> for Unreceived {
    fn from(failure: Failure) -> Self {
        Self::Store(failure)
    }
}

/// Receives goods in one transaction. For a repeated receipt, returns the product as it is now.
async fn receive<S>(store: &S, receipt: &Receipt) -> Result<Product, Unreceived>
where
    S: Store,
    S::Tx: Shelf,
{
    let mut tx = store.begin().await?;
    let claim = tx.claim(receipt).await?;
    if claim == Claim::Taken {
        let why = "idempotency_key was used for other goods";
        return Err(Unreceived::Refused(Status::already_exists(why)));
    }
    let known = tx.lock(std::slice::from_ref(&receipt.sku)).await?.remove(&receipt.sku);
    if claim == Claim::Repeated {
        let lost = || Failure::Permanent(format!("{} was received and is gone", receipt.sku));
        return Ok(known.ok_or_else(lost)?);
    }
    let product = receipt.take_in(known).map_err(|why| {
        Unreceived::Refused(match why {
            NotReceived::NewProduct => Status::failed_precondition(why.to_string()),
            NotReceived::TooMany => Status::out_of_range(why.to_string()),
        })
    })?;
    tx.receive(&product, receipt).await?;
    store.commit(tx).await?;
    Ok(product)
}

fn message(product: Product) -> Message {
    let Product { sku, name, price, levels } = product;
    let Levels { received, available, reserved, sold } = levels;
    Message { sku, name, price: Some(price), received, available, reserved, sold }
}

/// Turns a failure into a status that the caller may see.
fn refuse(failure: &Failure) -> Status {
    error!(%failure, "the catalogue cannot be used");
    match failure {
        Failure::Conflict(_) | Failure::Unavailable(_) | Failure::UnknownCommit(_) => {
            Status::unavailable(
                "the catalogue cannot be used now; the same request may be sent again",
            )
        }
        Failure::Permanent(_) => Status::internal("the catalogue cannot be used"),
    }
}
