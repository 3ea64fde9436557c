//! A shop whose answers are scripted, over real gRPC: for tests of the shop's clients.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use futures::{StreamExt as _, stream};
use saga_proto::{
    inventory::v1::{Product, ReceiveStockRequest},
    order::v1::{Order, OrderStatus},
    shop::v1::{
        CancelOrderRequest, CancelOrderResponse, GetOrderRequest, GetReturnRequest,
        ListOrdersRequest, ListOrdersResponse, ListProductsRequest, ListProductsResponse,
        OrderUpdate, PlaceOrderRequest, PlaceOrderResponse, Return, ReturnOrderRequest,
        ReturnOrderResponse, ReturnStatus, WatchOrderRequest,
        catalogue_server::{Catalogue, CatalogueServer},
        orders_server::{Orders, OrdersServer},
    },
};
use tokio::net::TcpListener;
use tonic::{
    Code, Request, Response, Status,
    codegen::BoxStream,
    transport::{Server, server::TcpIncoming},
};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A shop that rejects orders paid with the declined card. The customer's name can select another
/// answer, such as an error.
#[derive(Debug, Default)]
pub struct Shop {
    /// All orders that were placed, in this sequence.
    pub placed: Mutex<Vec<PlaceOrderRequest>>,
    /// All returns that were asked for, in this sequence.
    pub returned: Mutex<Vec<ReturnOrderRequest>>,
    /// The stock by SKU. The shop sells whatever is ordered.
    pub products: Mutex<BTreeMap<String, Product>>,
    watched: AtomicU32,
}

#[derive(Clone)]
struct Shared(Arc<Shop>);

/// Starts a shop, which stops together with the test's runtime. Returns it and its URL.
///
/// # Panics
/// If loopback has no free port.
pub async fn open() -> (Arc<Shop>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let server = format!("http://{}", listener.local_addr().expect("it is bound"));
    let shop = Arc::new(Shop::default());
    let shared = Shared(Arc::clone(&shop));
    tokio::spawn(
        Server::builder()
            .add_service(OrdersServer::new(shared.clone()))
            .add_service(CatalogueServer::new(shared))
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    (shop, server)
}

fn update(version: i64, status: OrderStatus, what: &str, ended: bool) -> OrderUpdate {
    OrderUpdate {
        order_id: "o-1".to_owned(),
        version,
        at_micros: version * 1_000_000,
        status: status.into(),
        what: what.to_owned(),
        ended,
        ..Default::default()
    }
}

#[tonic::async_trait]
impl Orders for Shared {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let request = request.into_inner();
        self.0.placed.lock().expect("no test panics while it holds this").push(request.clone());
        match request.customer.as_str() {
            "nobody" => {
                let details =
                    ErrorDetails::with_bad_request_violation("customer", "is not known here");
                Err(Status::with_error_details(
                    Code::InvalidArgument,
                    "the request is not valid",
                    details,
                ))
            }
            "hasty" => {
                let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(250)));
                Err(Status::with_error_details(
                    Code::ResourceExhausted,
                    "too many orders in flight",
                    details,
                ))
            }
            "sleepy" => {
                tokio::time::sleep(Duration::from_secs(30)).await;
                Err(Status::internal("nobody waits so long"))
            }
            "patient" => Ok(Response::new(PlaceOrderResponse {
                order_id: "o-1".to_owned(),
                status: OrderStatus::Pending.into(),
                ..Default::default()
            })),
            _ if request.payment_token == "tok_declined" => Ok(Response::new(PlaceOrderResponse {
                order_id: "o-1".to_owned(),
                status: OrderStatus::Rejected.into(),
                reason_code: "CARD_DECLINED".to_owned(),
                reason: "the card was declined".to_owned(),
                repeated: false,
            })),
            _ => {
                let mut products =
                    self.0.products.lock().expect("no test panics while it holds this");
                for line in &request.lines {
                    let product = products.entry(line.sku.clone()).or_default();
                    product.available -= line.quantity;
                    product.sold += line.quantity;
                }
                let status =
                    if request.wait { OrderStatus::Confirmed } else { OrderStatus::Pending };
                Ok(Response::new(PlaceOrderResponse {
                    order_id: "o-1".to_owned(),
                    status: status.into(),
                    ..Default::default()
                }))
            }
        }
    }

    type WatchOrderStream = BoxStream<OrderUpdate>;

    /// Breaks the first stream in the middle, as a restart does. The second stream is complete.
    async fn watch_order(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        if request.get_ref().order_id != "o-1" {
            return Err(Status::not_found("there is no such order"));
        }
        let mut story = vec![
            Ok(update(1, OrderStatus::Pending, "accepted", false)),
            Ok(update(2, OrderStatus::Pending, "stock is reserved", false)),
            Ok(update(3, OrderStatus::Confirmed, "confirmed", true)),
        ];
        if self.0.watched.fetch_add(1, Relaxed) == 0 {
            let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(1)));
            story[2] = Err(Status::with_error_details(Code::Unavailable, "restarting", details));
        }
        Ok(Response::new(stream::iter(story).boxed()))
    }

    async fn get_order(&self, _: Request<GetOrderRequest>) -> Result<Response<Order>, Status> {
        Err(Status::not_found("there is no such order"))
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        let request = request.into_inner();
        let number = if request.page_token.is_empty() { 1 } else { 2 };
        let order = Order {
            order_id: format!("o-{number}"),
            status: request.status,
            customer: request.customer,
            ..Default::default()
        };
        let next_page_token = if number == 1 { "second".to_owned() } else { String::new() };
        Ok(Response::new(ListOrdersResponse { orders: vec![order], next_page_token }))
    }

    async fn cancel_order(
        &self,
        _: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let details = ErrorDetails::with_precondition_failure_violation(
            "CAPTURED",
            "o-1",
            "return the order instead",
        );
        Err(Status::with_error_details(
            Code::FailedPrecondition,
            "the payment has been captured",
            details,
        ))
    }

    /// Reports the return as ended only at the second call.
    async fn return_order(
        &self,
        request: Request<ReturnOrderRequest>,
    ) -> Result<Response<ReturnOrderResponse>, Status> {
        let request = request.into_inner();
        let mut returned = self.0.returned.lock().expect("no test panics while it holds this");
        let known = returned.iter().any(|r| r.idempotency_key == request.idempotency_key);
        let status = match (known, request.order_id.as_str()) {
            (false, _) => ReturnStatus::Pending,
            (true, "o-1") => ReturnStatus::Done,
            (true, _) => ReturnStatus::Rejected,
        };
        let details = Return {
            return_id: "r-1".to_owned(),
            order_id: request.order_id.clone(),
            status: status.into(),
            ..Default::default()
        };
        returned.push(request);
        Ok(Response::new(ReturnOrderResponse { details: Some(details), repeated: known }))
    }

    async fn get_return(&self, _: Request<GetReturnRequest>) -> Result<Response<Return>, Status> {
        Err(Status::not_found("there is no such return"))
    }
}

#[tonic::async_trait]
impl Catalogue for Shared {
    async fn list_products(
        &self,
        _: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsResponse>, Status> {
        let products = self.0.products.lock().expect("no test panics while it holds this");
        Ok(Response::new(ListProductsResponse {
            products: products.values().cloned().collect(),
            next_page_token: String::new(),
        }))
    }

    async fn restock(
        &self,
        request: Request<ReceiveStockRequest>,
    ) -> Result<Response<Product>, Status> {
        let request = request.into_inner();
        let mut products = self.0.products.lock().expect("no test panics while it holds this");
        let product = products.entry(request.sku.clone()).or_default();
        product.sku = request.sku;
        product.price = request.price;
        product.received += request.quantity;
        product.available += request.quantity;
        Ok(Response::new(product.clone()))
    }
}
