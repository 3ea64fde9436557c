//! Reads orders from the order service, or from the saga while that service does not know the
//! order.

use saga_core::{Ended, SagaId};
use saga_desk::{
    Caller, page, status,
    validate::{id as saga_id, page_size as size},
};
use saga_engine::SagaReads;
use saga_proto::{
    order::v1::{Order, OrderStatus, ReadOrderRequest, ReadOrdersRequest},
    shop::v1::{GetOrderRequest, ListOrdersRequest, ListOrdersResponse},
};
use tonic::{Code, Request, Status};

use crate::{
    front::Front,
    standing::{self, Standing},
    validate,
};

impl<R: SagaReads> Front<R> {
    /// Reads one order. For an order that has ended, the order service's answer counts. Before its
    /// end, and for an order that the service never recorded, the saga's row counts.
    pub(crate) async fn get(&self, request: Request<GetOrderRequest>) -> Result<Order, Status> {
        let caller = Caller::of(&request)?;
        let id = saga_id("order_id", &request.get_ref().order_id)?;
        let order = self.read_order(id).await?;
        if order.as_ref().is_some_and(|order| order.status() != OrderStatus::Pending) {
            return order.ok_or_else(|| status::not_found("order", &id.to_string()));
        }
        let saga = self.find_order(id, &caller).await?;
        match (order, saga) {
            (None, None) => Err(status::not_found("order", &id.to_string())),
            (Some(order), None) => Ok(order),
            (order, Some(saga)) => match (saga.ended(), order) {
                // The order was confirmed between the two reads, so read it once more.
                (Some(Ended::Completed), order) => Ok(self
                    .read_order(id)
                    .await?
                    .or(order)
                    .unwrap_or_else(|| standing::order(&saga))),
                (Some(Ended::Compensated) | None, None) => Ok(standing::order(&saga)),
                (Some(Ended::Compensated), Some(order)) => {
                    let Standing { status, reason_code, reason } = Standing::of(&saga);
                    Ok(Order { status: status.into(), reason_code, reason, ..order })
                }
                (None, Some(order)) => Ok(order),
            },
        }
    }

    async fn read_order(&self, id: SagaId) -> Result<Option<Order>, Status> {
        let mut orders = self.orders.clone();
        let request = ReadOrderRequest { order_id: id.to_string() };
        match self.forward("order", orders.read_order(request)).await {
            Ok(order) => Ok(Some(order)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Lists a page of orders, newest first.
    pub(crate) async fn list(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<ListOrdersResponse, Status> {
        let caller = Caller::of(&request)?;
        let ListOrdersRequest { customer, status, page_size, page_token } = request.into_inner();
        let status = validate::order_filter(&customer, status)?;
        let limit = size(page_size)?;
        let filter = ["ListOrders", caller.as_str(), &customer, status.as_str_name()];
        let before = page::read(&filter, &page_token)?.unwrap_or_default();
        let request =
            ReadOrdersRequest { customer: customer.clone(), status: status.into(), before, limit };
        let mut orders = self.orders.clone();
        let orders = self.forward("order", orders.read_orders(request)).await?.orders;
        // A full page gets a token, although it may be the last one. The next page is then empty.
        let full = i32::try_from(orders.len()).is_ok_and(|count| count >= limit);
        let last = orders.last().filter(|_| full);
        let next_page_token =
            last.map(|order| page::write(&filter, &order.order_id)).unwrap_or_default();
        Ok(ListOrdersResponse { orders, next_page_token })
    }
}
