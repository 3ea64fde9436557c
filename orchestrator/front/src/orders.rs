//! The gRPC service `Orders`. Each method is implemented in its own file.

use saga_engine::SagaReads;
use saga_proto::{
    order::v1::Order,
    shop::v1::{
        CancelOrderRequest, CancelOrderResponse, GetOrderRequest, GetReturnRequest,
        ListOrdersRequest, ListOrdersResponse, PlaceOrderRequest, PlaceOrderResponse, Return,
        ReturnOrderRequest, ReturnOrderResponse, WatchOrderRequest, orders_server::Orders,
    },
};
use tonic::{Request, Response, Status};

use crate::{front::Front, watch::Updates};

#[tonic::async_trait]
impl<R: SagaReads> Orders for Front<R> {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        self.place(request).await.map(Response::new)
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        self.get(request).await.map(Response::new)
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        self.list(request).await.map(Response::new)
    }

    type WatchOrderStream = Updates;

    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<Updates>, Status> {
        self.watch(request).await.map(Response::new)
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        self.cancel(request).await.map(Response::new)
    }

    async fn return_order(
        &self,
        request: Request<ReturnOrderRequest>,
    ) -> Result<Response<ReturnOrderResponse>, Status> {
        self.begin_return(request).await.map(Response::new)
    }

    async fn get_return(
        &self,
        request: Request<GetReturnRequest>,
    ) -> Result<Response<Return>, Status> {
        self.read_return(request).await.map(Response::new)
    }
}
