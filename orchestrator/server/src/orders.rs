//! The service of orders. The work of each method is in a file of its own.

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

use crate::{front::Front, metadata, metered::metered, watch::Updates};

#[tonic::async_trait]
impl<R: SagaReads> Orders for Front<R> {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let trace = metadata::traceparent(request.metadata());
        let call = self.place(request);
        metered("saga.shop.v1.Orders/PlaceOrder", trace, call).await.map(Response::new)
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<Order>, Status> {
        let trace = metadata::traceparent(request.metadata());
        let call = self.get(request);
        metered("saga.shop.v1.Orders/GetOrder", trace, call).await.map(Response::new)
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        let trace = metadata::traceparent(request.metadata());
        let call = self.list(request);
        metered("saga.shop.v1.Orders/ListOrders", trace, call).await.map(Response::new)
    }

    type WatchOrderStream = Updates;

    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<Updates>, Status> {
        let trace = metadata::traceparent(request.metadata());
        let call = self.watch(request);
        metered("saga.shop.v1.Orders/WatchOrder", trace, call).await.map(Response::new)
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let trace = metadata::traceparent(request.metadata());
        let call = self.cancel(request);
        metered("saga.shop.v1.Orders/CancelOrder", trace, call).await.map(Response::new)
    }

    async fn return_order(
        &self,
        request: Request<ReturnOrderRequest>,
    ) -> Result<Response<ReturnOrderResponse>, Status> {
        let trace = metadata::traceparent(request.metadata());
        let call = self.begin_return(request);
        metered("saga.shop.v1.Orders/ReturnOrder", trace, call).await.map(Response::new)
    }

    async fn get_return(
        &self,
        request: Request<GetReturnRequest>,
    ) -> Result<Response<Return>, Status> {
        let trace = metadata::traceparent(request.metadata());
        let call = self.read_return(request);
        metered("saga.shop.v1.Orders/GetReturn", trace, call).await.map(Response::new)
    }
}
