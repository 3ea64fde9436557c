//! The service of orders: each method's own file says what it does.

use saga_engine::SagaReads;
use saga_proto::{
    order::v1::Order,
    shop::v1::{
        CancelOrderRequest, CancelOrderResponse, GetOrderRequest, ListOrdersRequest,
        ListOrdersResponse, PlaceOrderRequest, PlaceOrderResponse, WatchOrderRequest,
        orders_server::Orders,
    },
};
use tonic::{Request, Response, Status};

use crate::{front::Front, metered::metered, watch::Updates};

#[tonic::async_trait]
impl<R: SagaReads> Orders for Front<R> {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        metered("PlaceOrder", self.place(request)).await.map(Response::new)
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        metered("GetOrder", self.get(request)).await.map(Response::new)
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        metered("ListOrders", self.list(request)).await.map(Response::new)
    }

    type WatchOrderStream = Updates;

    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<Updates>, Status> {
        metered("WatchOrder", self.watch(request)).await.map(Response::new)
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        metered("CancelOrder", self.cancel(request)).await.map(Response::new)
    }
}
