//! The bench against a server whose answers the test controls: its counts, and its checks of the
//! catalogue.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{Arc, Mutex},
};

use saga_proto::{
    inventory::v1::{Product, ReceiveStockRequest},
    order::v1::{Order, OrderStatus},
    shop::v1::{
        CancelOrderRequest, CancelOrderResponse, GetOrderRequest, GetReturnRequest,
        ListOrdersRequest, ListOrdersResponse, ListProductsRequest, ListProductsResponse,
        OrderUpdate, PlaceOrderRequest, PlaceOrderResponse, Return, ReturnOrderRequest,
        ReturnOrderResponse, WatchOrderRequest,
        catalogue_server::{Catalogue, CatalogueServer},
        orders_server::{Orders, OrdersServer},
    },
};
use serde_json::Value;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    codegen::BoxStream,
    transport::{Server, server::TcpIncoming},
};

/// The products of a shop that sells whatever is ordered, except to the declined card.
type Products = Mutex<BTreeMap<String, Product>>;

#[derive(Clone)]
struct Shop(Arc<Products>);

fn nobody_asks<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the bench does not ask for this"))
}

#[tonic::async_trait]
impl Orders for Shop {
    async fn place_order(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<Response<PlaceOrderResponse>, Status> {
        let request = request.into_inner();
        let status = if request.payment_token == "tok_declined" {
            OrderStatus::Rejected
        } else {
            let mut products = self.0.lock().expect("no test panics while it holds this");
            for line in &request.lines {
                let product = products.entry(line.sku.clone()).or_default();
                product.available -= line.quantity;
                product.sold += line.quantity;
            }
            OrderStatus::Confirmed
        };
        Ok(Response::new(PlaceOrderResponse { status: status.into(), ..Default::default() }))
    }

    type WatchOrderStream = BoxStream<OrderUpdate>;

    async fn watch_order(
        &self,
        _: Request<WatchOrderRequest>,
    ) -> Result<Response<Self::WatchOrderStream>, Status> {
        nobody_asks()
    }

    async fn get_order(&self, _: Request<GetOrderRequest>) -> Result<Response<Order>, Status> {
        nobody_asks()
    }

    async fn list_orders(
        &self,
        _: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        nobody_asks()
    }

    async fn cancel_order(
        &self,
        _: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        nobody_asks()
    }

    async fn return_order(
        &self,
        _: Request<ReturnOrderRequest>,
    ) -> Result<Response<ReturnOrderResponse>, Status> {
        nobody_asks()
    }

    async fn get_return(&self, _: Request<GetReturnRequest>) -> Result<Response<Return>, Status> {
        nobody_asks()
    }
}

#[tonic::async_trait]
impl Catalogue for Shop {
    async fn list_products(
        &self,
        _: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsResponse>, Status> {
        let products = self.0.lock().expect("no test panics while it holds this");
        let products = products.values().cloned().collect();
        Ok(Response::new(ListProductsResponse { products, next_page_token: String::new() }))
    }

    async fn restock(
        &self,
        request: Request<ReceiveStockRequest>,
    ) -> Result<Response<Product>, Status> {
        let request = request.into_inner();
        let mut products = self.0.lock().expect("no test panics while it holds this");
        let product = products.entry(request.sku.clone()).or_default();
        product.sku = request.sku;
        product.received += request.quantity;
        product.available += request.quantity;
        Ok(Response::new(product.clone()))
    }
}

/// Starts a shop that ends with the test's runtime.
async fn open() -> (Arc<Products>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let server = format!("http://{}", listener.local_addr().expect("it is bound"));
    let products = Arc::<Products>::default();
    let shop = Shop(Arc::clone(&products));
    tokio::spawn(
        Server::builder()
            .add_service(OrdersServer::new(shop.clone()))
            .add_service(CatalogueServer::new(shop))
            .serve_with_incoming(TcpIncoming::from(listener)),
    );
    (products, server)
}

/// The result of a command line.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the bench to its end.
async fn bench(server: &str, arguments: &[&str]) -> Ran {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_saga-bench"));
    bench.args(arguments).args(["--server", server]);
    let output =
        tokio::task::spawn_blocking(move || bench.output()).await.expect("it does not panic");
    let output = output.expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bench_measures_each_level_and_checks_the_books() {
    let (shop, server) = open().await;
    let args = [
        "--in-flight",
        "1,4",
        "--open",
        "50,0.5x",
        "--orders",
        "100",
        "--seconds",
        "0.5",
        "--warm-up",
        "0.1",
        "--rounds",
        "2",
        "--skus",
        "7",
        "--json",
    ];
    let ran = bench(&server, &args).await;
    let answer: Value = serde_json::from_str(&ran.out).expect("one JSON object");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{answer}");
    for (level, in_flight) in [(0, 1), (1, 4)] {
        let level = &answer["levels"][level];
        assert_eq!(level["inFlight"], in_flight);
        let count = |what: &str| level[what].as_u64().expect("a count");
        let (confirmed, declined) = (count("confirmed"), count("declined"));
        // There were two rounds, each of at least a hundred orders or half a second.
        assert!(confirmed >= 20, "{level}");
        assert!((confirmed / 15..=confirmed / 5).contains(&declined), "{level}");
        assert_eq!(level["rounds"].as_array().map(Vec::len), Some(2));
        let (rate, local) = (&level["sagasPerSecond"], &level["localTransactionsPerSaga"]);
        assert!(rate.as_f64() > Some(0.0) && local.as_f64() > Some(5.8), "{level}");
    }
    let rate = &answer["rates"][0];
    assert_eq!(rate["offeredPerSecond"], 50.0);
    let sent = rate["sent"].as_u64().expect("a count");
    assert!((40..=60).contains(&sent), "50 a second, twice for half a second: {rate}");
    assert_eq!(answer["rates"][1]["shareOfSaturation"], 0.5);
    assert_eq!(answer["limits"], Value::Null);

    shop.lock().expect("the server is idle").values_mut().for_each(|product| product.sold += 1);
    let ran = bench(&server, &args[..args.len() - 1]).await;
    assert_eq!(ran.code, Some(1), "seven were sold that nobody received:\n{}", ran.out);
    assert!(ran.out.contains("It does not add up:\n  Of 7 products"), "{}", ran.out);
}
