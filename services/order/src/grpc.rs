//! The service's reads over gRPC. Orchestrators forward their clients' reads to them.

use saga_core::{Failure, SagaId};
use saga_proto::order::v1::{
    Order, OrderStatus, ReadOrderRequest, ReadOrdersRequest, ReadOrdersResponse,
    order_reads_server::{OrderReads, OrderReadsServer},
};
use tonic::{Request, Response, Status};
use tracing::error;

use crate::{
    rule,
    table::{Page, Reads},
};

/// Maximum number of orders on a page. The client's contract names this number.
const MAX_PAGE: u32 = 500;

/// Creates the gRPC service over a reader of the tables.
pub fn service<R: Reads>(reads: R) -> OrderReadsServer<Grpc<R>> {
    OrderReadsServer::new(Grpc { reads })
}

/// The gRPC service, which answers reads.
#[derive(Debug)]
pub struct Grpc<R> {
    reads: R,
}

#[tonic::async_trait]
impl<R: Reads> OrderReads for Grpc<R> {
    async fn read_order(
        &self,
        request: Request<ReadOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        let id = id(&request.get_ref().order_id, "order_id")?;
        let order = self.reads.order(id).await.map_err(|failure| unread(&failure))?;
        order.map(Response::new).ok_or_else(|| Status::not_found("there is no such order"))
    }

    async fn read_orders(
        &self,
        request: Request<ReadOrdersRequest>,
    ) -> Result<Response<ReadOrdersResponse>, Status> {
        let page = page(request.into_inner())?;
        let orders = self.reads.page(&page).await.map_err(|failure| unread(&failure))?;
        Ok(Response::new(ReadOrdersResponse { orders }))
    }
}

fn page(request: ReadOrdersRequest) -> Result<Page, Status> {
    let status = match OrderStatus::try_from(request.status) {
        Ok(OrderStatus::Unspecified) => None,
        Ok(OrderStatus::Pending) => Some(rule::Status::Pending),
        Ok(OrderStatus::Confirmed) => Some(rule::Status::Confirmed),
        Ok(OrderStatus::Rejected) => Some(rule::Status::Rejected),
        Ok(OrderStatus::Cancelled) => Some(rule::Status::Cancelled),
        Err(_) => return Err(Status::invalid_argument("status is none that an order can have")),
    };
    let limit = u32::try_from(request.limit).unwrap_or(0);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Status::invalid_argument(format!("limit is not 1 to {MAX_PAGE}")));
    }
    if request.customer.contains('\0') {
        return Err(Status::invalid_argument("customer is no name"));
    }
    let before = match request.before.as_str() {
        "" => None,
        before => Some(id(before, "before")?),
    };
    let customer = Some(request.customer).filter(|customer| !customer.is_empty());
    Ok(Page { customer, status, before, limit })
}

fn id(text: &str, field: &str) -> Result<SagaId, Status> {
    text.parse().map_err(|_| Status::invalid_argument(format!("{field} is no order's id")))
}

/// Turns a failure into a status that the caller may see.
fn unread(failure: &Failure) -> Status {
    error!(%failure, "orders cannot be read");
    match failure {
        Failure::Conflict(_) | Failure::Unavailable(_) | Failure::UnknownCommit(_) => {
            Status::unavailable("the orders cannot be read now")
        }
        Failure::Permanent(_) => Status::internal("the orders cannot be read"),
    }
}
