//! Runs the commands against a server in this process, over real gRPC, with scripted answers.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering::Relaxed},
};
use std::time::Duration;

use clap::Parser as _;
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
use serde_json::Value;
use tokio::net::TcpListener;
use tonic::{
    Code, Request, Response, Status,
    codegen::BoxStream,
    transport::{Server, server::TcpIncoming},
};
use tonic_types::{ErrorDetails, StatusExt as _};

/// A shop that rejects orders paid with the declined card. The customer's name can select another
/// answer, such as an error.
#[derive(Default)]
struct Shop {
    placed: Mutex<Vec<PlaceOrderRequest>>,
    returned: Mutex<Vec<ReturnOrderRequest>>,
    watched: AtomicU32,
    products: Mutex<std::collections::BTreeMap<String, Product>>,
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

#[derive(Clone)]
struct Shared(Arc<Shop>);

/// Exit code and output of a command that was run.
pub(super) struct Ran {
    pub(super) code: u8,
    pub(super) out: String,
    pub(super) err: String,
}

#[derive(clap::Parser)]
struct Line {
    #[command(subcommand)]
    command: super::Command,
}

impl Line {
    async fn run(self, out: &mut dyn std::io::Write, err: &mut dyn std::io::Write) -> u8 {
        let json = self.command.json();
        saga_cli::run_on(json, async |console| self.command.ask(console).await, out, err).await
    }
}

/// Starts a shop, which stops together with the test's runtime.
async fn open() -> (Arc<Shop>, String) {
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

pub(super) async fn saga(server: &str, args: &[&str]) -> Ran {
    let line = Line::try_parse_from(["saga"].iter().chain(args).chain(&["--server", server]))
        .expect("a test's command line is valid");
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = line.run(&mut out, &mut err).await;
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Ran { code, out: text(out), err: text(err) }
}

const PLACE: [&str; 9] =
    ["place", "--customer", "ada", "--item", "teapot=2", "--item", "cup=6", "--key", "k-1"];

#[tokio::test]
async fn an_order_is_placed_as_it_was_typed_and_its_end_is_told() {
    let (shop, server) = open().await;
    let ran = saga(&server, &[&PLACE[..], &["--expect", "12.34EUR"]].concat()).await;
    assert_eq!(
        (ran.code, ran.out.as_str(), ran.err.as_str()),
        (0, "Order o-1 is confirmed.\n", "")
    );
    let placed = shop.placed.lock().expect("the server is idle").remove(0);
    assert_eq!(
        (placed.idempotency_key.as_str(), placed.customer.as_str(), placed.wait),
        ("k-1", "ada", true)
    );
    assert_eq!(placed.payment_token, "tok_approved");
    assert_eq!(placed.expected_total, Some(saga_proto::Money::new(1234, "EUR")));
    let lines: Vec<_> =
        placed.lines.iter().map(|line| (line.sku.as_str(), line.quantity)).collect();
    assert_eq!(lines, [("teapot", 2), ("cup", 6)]);
}

#[tokio::test]
async fn an_accepted_order_is_success_and_a_rejected_one_is_not() {
    let (_shop, server) = open().await;
    let accepted = saga(&server, &[&PLACE[..], &["--no-wait"]].concat()).await;
    assert_eq!(
        (accepted.code, accepted.out.as_str()),
        (0, "Order o-1 is accepted. See what happens: saga watch o-1\n")
    );
    let declined = saga(&server, &[&PLACE[..], &["--token", "tok_declined"]].concat()).await;
    assert_eq!(
        (declined.code, declined.out.as_str()),
        (1, "Order o-1 was rejected: the card was declined (CARD_DECLINED)\n")
    );
}

#[tokio::test]
async fn programs_get_one_object_with_the_key() {
    let (shop, server) = open().await;
    let ran = saga(&server, &["place", "--customer", "ada", "--item", "teapot=2", "--json"]).await;
    let answer: Value = serde_json::from_str(&ran.out).expect("one JSON object");
    assert_eq!((ran.code, ran.err.as_str(), ran.out.lines().count()), (0, "", 1));
    assert_eq!(
        (&answer["orderId"], &answer["status"]),
        (&Value::from("o-1"), &Value::from("ORDER_STATUS_CONFIRMED"))
    );
    let sent = shop.placed.lock().expect("the server is idle").remove(0).idempotency_key;
    assert_eq!(answer["idempotencyKey"], sent);
    assert_eq!(sent.len(), 36, "a random UUID: {sent}");
}

#[tokio::test]
async fn a_person_is_told_the_random_key_before_the_answer() {
    let (shop, server) = open().await;
    let ran = saga(&server, &["place", "--customer", "hasty", "--item", "teapot=2"]).await;
    let key = shop.placed.lock().expect("the server is idle").remove(0).idempotency_key;
    assert_eq!(
        ran.err,
        format!(
            "Key {key} (to repeat this order safely: --key {key})\nsaga: RESOURCE_EXHAUSTED: too many orders in flight\n  try again in 0.250 s\n"
        )
    );
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
}

#[tokio::test]
async fn a_refusal_names_the_fields_for_people_and_for_programs() {
    let (_shop, server) = open().await;
    let args = ["place", "--customer", "nobody", "--item", "teapot=2", "--key", "k-1"];
    let ran = saga(&server, &args).await;
    assert_eq!(
        ran.err,
        "saga: INVALID_ARGUMENT: the request is not valid\n  customer: is not known here\n"
    );
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    let ran = saga(&server, &[&args[..], &["--json"]].concat()).await;
    let answer: Value = serde_json::from_str(&ran.err).expect("one JSON object");
    let error = &answer["error"];
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert_eq!(
        (&error["code"], &error["retry"]),
        (&Value::from("INVALID_ARGUMENT"), &Value::from(false))
    );
    assert_eq!(error["fieldViolations"][0]["field"], "customer");
    assert_eq!(error["idempotencyKey"], "k-1");

    let ran = saga(&server, &["cancel", "o-1"]).await;
    assert_eq!(
        ran.err,
        "saga: FAILED_PRECONDITION: the payment has been captured\n  CAPTURED o-1: return the order instead\n"
    );
    assert_eq!(ran.code, 1);
}

#[tokio::test]
async fn a_return_is_waited_for_under_one_key_and_its_end_is_the_exit_code() {
    let (shop, server) = open().await;
    let part = ["return", "o-1", "--line", "teapot=1", "--reason", "it leaks", "--json"];
    let ran = saga(&server, &part).await;
    let answer: Value = serde_json::from_str(&ran.out).expect("one JSON object");
    assert_eq!((ran.code, &answer["details"]["status"]), (0, &"RETURN_STATUS_DONE".into()));
    let asked = shop.returned.lock().expect("no test panics while it holds this").clone();
    assert_eq!(asked.len(), 2, "asked again while it was pending");
    assert_eq!(asked[0], asked[1], "under the same key");
    assert_eq!(answer["idempotencyKey"], asked[0].idempotency_key.as_str());
    assert_eq!((asked[0].lines[0].sku.as_str(), asked[0].reason.as_str()), ("teapot", "it leaks"));

    let ran = saga(&server, &["return", "o-2", "--key", "k-2"]).await;
    assert_eq!((ran.code, ran.out.contains("was rejected")), (1, true), "{}", ran.out);
    let ran = saga(&server, &["return", "o-1", "--key", "k-3", "--no-wait"]).await;
    assert_eq!((ran.code, ran.out.contains("is accepted")), (0, true), "{}", ran.out);
}

#[tokio::test]
async fn a_watch_survives_a_restart_and_tells_everything_once() {
    let (_shop, server) = open().await;
    let ran = saga(&server, &["watch", "o-1"]).await;
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (
            0,
            "  +0.000 s  PENDING    accepted\n  +1.000 s  PENDING    stock is reserved\n  +2.000 s  CONFIRMED  confirmed\n"
        )
    );
    let ran = saga(&server, &["watch", "o-1", "--json"]).await;
    let versions: Vec<Value> = ran
        .out
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).expect("an object a line")["version"].clone()
        })
        .collect();
    assert_eq!(versions, ["1", "2", "3"]);
    assert_eq!(saga(&server, &["watch", "o-2"]).await.code, 1);
}

#[tokio::test]
async fn an_order_that_outlasts_the_servers_patience_is_waited_for() {
    let (_shop, server) = open().await;
    let ran =
        saga(&server, &["place", "--customer", "patient", "--item", "teapot=2", "--key", "k-1"])
            .await;
    assert_eq!((ran.code, ran.out.as_str()), (0, "Order o-1 is confirmed.\n"));
}

#[tokio::test]
async fn a_server_that_is_not_there_hangs_up_or_is_silent_may_be_tried_again() {
    let (_shop, server) = open().await;
    let ran = saga(
        &server,
        &["place", "--customer", "sleepy", "--item", "teapot=2", "--key", "k", "--timeout", "1"],
    )
    .await;
    assert_eq!(
        (ran.code, ran.err.starts_with("saga: DEADLINE_EXCEEDED: ")),
        (2, true),
        "{}",
        ran.err
    );

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let server = format!("http://{}", listener.local_addr().expect("it is bound"));
    let hangs_up = tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    let ran = saga(&server, &["order", "o-1"]).await;
    assert_eq!((ran.code, ran.err.starts_with("saga: UNAVAILABLE: ")), (2, true), "{}", ran.err);
    hangs_up.abort();
    let _ = hangs_up.await;
    let ran = saga(&server, &["order", "o-1"]).await;
    assert_eq!((ran.code, ran.err.starts_with("saga: UNAVAILABLE: ")), (2, true), "{}", ran.err);
}

#[tokio::test]
async fn a_list_is_one_page_or_all_of_them() {
    let (_shop, server) = open().await;
    let ran = saga(&server, &["orders", "--customer", "ada", "--status", "pending"]).await;
    assert_eq!(
        ran.out,
        "ORDER  STATUS   CUSTOMER  LINES  TOTAL  CREATED  WHY\no-1    PENDING  ada                     -\n"
    );
    assert_eq!(ran.err, "There are more: --limit N, or --all.\n");
    let ran = saga(&server, &["orders", "--all", "--json"]).await;
    let pages: Vec<Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    assert_eq!(pages.len(), 2);
    assert_eq!(pages[1]["orders"][0]["orderId"], "o-2");
    assert_eq!(pages[1]["nextPageToken"], "");
}

#[tokio::test]
async fn a_reader_who_has_seen_enough_is_no_error() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (_shop, server) = open().await;
    let line = Line::try_parse_from(["saga", "orders", "--server", &server])
        .expect("the command line is valid");
    let mut err = Vec::new();
    let code = line.run(&mut Closed, &mut err).await;
    assert_eq!((code, err), (0, vec![]));
}

#[test]
fn the_command_line_is_consistent_and_every_command_shows_an_example() {
    use clap::CommandFactory as _;
    let mut line = Line::command();
    line.build();
    line.clone().debug_assert();
    for command in line.get_subcommands().filter(|command| command.get_name() != "help") {
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(
            examples.contains(&format!("saga {}", command.get_name())),
            "{}",
            command.get_name()
        );
    }
}
