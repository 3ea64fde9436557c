//! Input that must be refused, each with its own status, and without any row being written.

use saga_operations::v1::{
    GetSagaRequest, ListQuarantinedRequest, ListSagasRequest, SagaFilter,
    quarantine_client::QuarantineClient,
};
use saga_proto::{
    Money,
    inventory::v1::ReceiveStockRequest,
    shop::v1::{
        GetOrderRequest, ListOrdersRequest, ListProductsRequest, PlaceOrderRequest,
        WatchOrderRequest,
    },
    types::v1::Line,
};
use tonic::{Code, Request, Status};

use crate::world::{World, fields, order, reason};

/// Places a valid order with one change, and checks that it is refused for exactly these fields.
async fn refused(
    world: &World,
    change: impl FnOnce(&mut PlaceOrderRequest),
    wrong: &[&str],
) -> Status {
    let mut bad = order("k");
    change(&mut bad);
    let status = world.place(bad).await.expect_err("bad input");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert_eq!(fields(&status), wrong);
    assert_eq!(world.written(), (0, 0));
    status
}

fn line(sku: &str, quantity: i64) -> Line {
    Line { sku: sku.to_owned(), quantity }
}

#[tokio::test]
async fn quantities_of_zero_below_and_far_above_are_refused() {
    let world = World::new().await;
    for quantity in [0, -1, i64::MIN, 1_000_001, i64::MAX] {
        refused(&world, |o| o.lines[0].quantity = quantity, &["lines[0].quantity"]).await;
    }
}

#[tokio::test]
async fn malformed_currencies_and_negative_totals_are_refused() {
    let world = World::new().await;
    for currency in ["", "eur", "EURO", "EU", "€€€", "E\0R"] {
        let total = Money::new(1, currency);
        refused(&world, |o| o.expected_total = Some(total), &["expected_total.currency"]).await;
    }
    let total = Money::new(-1, "EUR");
    refused(&world, |o| o.expected_total = Some(total), &["expected_total.minor_units"]).await;
}

#[tokio::test]
async fn no_lines_and_too_many_lines_are_refused() {
    let world = World::new().await;
    refused(&world, |o| o.lines.clear(), &["lines"]).await;
    let many = |count| (0..count).map(|n| line(&format!("sku-{n}"), 1)).collect::<Vec<_>>();
    refused(&world, |o| o.lines = many(101), &["lines"]).await;
    refused(&world, |o| o.lines = many(10_000), &["lines"]).await;
}

#[tokio::test]
async fn a_sku_that_stands_twice_is_refused() {
    let world = World::new().await;
    let twice = vec![line("teapot", 1), line("cup", 1), line("teapot", 2)];
    refused(&world, |o| o.lines = twice, &["lines[2].sku"]).await;
}

#[tokio::test]
async fn skus_of_other_characters_are_refused() {
    let world = World::new().await;
    for sku in ["", "Teapot", "tea pot", "'; DROP TABLE stock;--", "tea\0", "té", &"x".repeat(65)]
    {
        refused(&world, |o| o.lines[0].sku = sku.to_owned(), &["lines[0].sku"]).await;
    }
}

#[tokio::test]
async fn control_characters_and_empty_and_long_customers_are_refused() {
    let world = World::new().await;
    for customer in ["", "\0", "Ada\0", "a\nb", "\u{7f}", "\u{85}", &"x".repeat(201)] {
        refused(&world, |o| o.customer = customer.to_owned(), &["customer"]).await;
    }
}

#[tokio::test]
async fn customers_of_any_script_are_stored_as_they_are() {
    let world = World::new().await;
    let names = ["'; DROP TABLE sagas;--", "عائشة", "\u{202e}adA", "🫖🫖", &"𝔄".repeat(200)];
    for (n, name) in names.into_iter().enumerate() {
        let order = PlaceOrderRequest { customer: name.to_owned(), ..order(&format!("k{n}")) };
        let id = world.place(order).await.expect("a name").order_id;
        let data: serde_json::Value =
            serde_json::from_str(world.saga(&id).data.get()).expect("JSON");
        assert_eq!(data["customer"], name);
    }
}

#[tokio::test]
async fn an_idempotency_key_that_is_missing_long_or_not_printable_is_refused() {
    let world = World::new().await;
    for key in ["", "ключ", "a\nb", "\0", &"k".repeat(256)] {
        refused(&world, |o| o.idempotency_key = key.to_owned(), &["idempotency_key"]).await;
    }
    world.placed(&"k".repeat(255)).await;
}

#[tokio::test]
async fn a_message_beyond_its_bound_is_refused_before_it_is_read() {
    let world = World::new().await;
    for bytes in [1_000_000, 5_000_000] {
        let bad = PlaceOrderRequest { idempotency_key: "k".repeat(bytes), ..order("k") };
        let status = world.place(bad).await.expect_err("too large");
        assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    }
    assert_eq!(world.written(), (0, 0));
    world.placed("k").await;
}

#[tokio::test]
async fn a_card_number_is_refused_and_appears_in_no_answer() {
    let world = World::new().await;
    for number in ["4111111111111111", "4111 1111 1111 1111", "tok_3782-822463-10005"] {
        let status =
            refused(&world, |o| o.payment_token = number.to_owned(), &["payment_token"]).await;
        let said = format!("{status:?} {:?}", String::from_utf8_lossy(status.details()));
        for part in ["1111", "8224", "10005"] {
            assert!(!said.contains(part), "{said}");
        }
    }
    for token in ["", "tok\n", "tök", &"x".repeat(256)] {
        refused(&world, |o| o.payment_token = token.to_owned(), &["payment_token"]).await;
    }
}

#[tokio::test]
async fn the_payment_token_is_in_no_answer() {
    let world = World::new().await;
    let canary = "tok_canary_d9f2";
    let order = PlaceOrderRequest { payment_token: canary.to_owned(), wait: true, ..order("k") };
    let placed = world.place(order).await.expect("accepted");
    let read =
        world.orders().get_order(GetOrderRequest { order_id: placed.order_id.clone() }).await;
    let saga = world.sagas().get_saga(GetSagaRequest { saga_id: placed.order_id.clone() }).await;
    let watched = WatchOrderRequest { order_id: placed.order_id.clone() };
    let mut updates = world.orders().watch_order(watched).await.expect("known").into_inner();
    let mut said = format!("{placed:?} {read:?} {saga:?}");
    while let Some(update) = updates.message().await.expect("sound") {
        said += &format!("{update:?}");
    }
    assert!(said.contains("capture-payment") && !said.contains(canary), "{said}");
}

#[tokio::test]
async fn a_compressed_message_is_refused_unread() {
    let world = World::new().await;
    let status = raw(&world, &[("grpc-encoding", "gzip")], "\u{1}\0\0\0\u{5}bomb!").await;
    assert_eq!(status, Some(Code::Unimplemented));
    assert_eq!(world.written(), (0, 0));
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused() {
    let world = World::new().await;
    let status = raw(&world, &[], "\0\0\0\0\u{5}bogus").await;
    assert_eq!(status, Some(Code::Internal));
    assert_eq!(world.written(), (0, 0));
}

/// Calls PlaceOrder with exactly these bytes, and returns the answer's status code.
async fn raw(world: &World, headers: &[(&str, &str)], body: &str) -> Option<Code> {
    use tonic::codegen::{Service as _, http};
    let mut request = http::Request::builder()
        .method("POST")
        .uri(format!("{}/saga.shop.v1.Orders/PlaceOrder", world.url))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(tonic::body::Body::new(body.to_owned())).expect("a request");
    let mut channel = world.channel.clone();
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("ready");
    let response = channel.call(request).await.expect("an answer");
    Status::from_header_map(response.headers()).map(|status| status.code())
}

#[tokio::test]
async fn huge_metadata_is_refused_and_the_server_goes_on() {
    let world = World::new().await;
    let mut request = Request::new(order("k"));
    request.metadata_mut().insert("x-huge", "x".repeat(64 * 1024).parse().expect("ASCII"));
    let status = world.orders().place_order(request).await.expect_err("too large");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(world.written(), (0, 0));
    world.placed("k").await;
}

#[tokio::test]
async fn a_token_is_refused_by_every_service() {
    let world = World::new().await;
    fn signed<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        let token = "Bearer eyJhbGciOiJub25lIn0..".parse().expect("ASCII");
        request.metadata_mut().insert("authorization", token);
        request
    }
    let placed = world.orders().place_order(signed(order("k"))).await.map(drop);
    let products = ListProductsRequest::default();
    let listed = world.catalogue().list_products(signed(products)).await.map(drop);
    let sagas = world.sagas().list_sagas(signed(ListSagasRequest::default())).await.map(drop);
    for answer in [placed, listed, sagas] {
        let status = answer.expect_err("tokens are not supported");
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(reason(&status), "TOKENS_NOT_SUPPORTED");
        assert!(!format!("{status:?}").contains("eyJ"));
    }
    assert_eq!(world.written(), (0, 0));
}

#[tokio::test]
async fn ids_that_are_none_are_refused_by_every_method() {
    let world = World::new().await;
    for id in ["", "1", "01890a5dac96774bbcceb302099a8057", "01890A5D-AC96-774B-BCCE-B302099A8057"]
    {
        let order_id = id.to_owned();
        let get = GetOrderRequest { order_id: order_id.clone() };
        let get = world.orders().get_order(get).await.map(drop).expect_err("no id");
        let watch = WatchOrderRequest { order_id };
        let watch = world.orders().watch_order(watch).await.map(drop).expect_err("no id");
        let saga = GetSagaRequest { saga_id: id.to_owned() };
        let saga = world.sagas().get_saga(saga).await.map(drop).expect_err("no id");
        for (status, field) in [(get, "order_id"), (watch, "order_id"), (saga, "saga_id")] {
            assert_eq!(
                (status.code(), fields(&status)),
                (Code::InvalidArgument, vec![field.into()])
            );
        }
    }
}

#[tokio::test]
async fn page_sizes_below_zero_and_above_the_bound_are_refused() {
    let world = World::new().await;
    for page_size in [-1, 501, 1_000_000_000, i32::MIN] {
        let orders = ListOrdersRequest { page_size, ..Default::default() };
        let orders = world.orders().list_orders(orders).await.map(drop);
        let products = ListProductsRequest { page_size, ..Default::default() };
        let products = world.catalogue().list_products(products).await.map(drop);
        let sagas = ListSagasRequest { page_size, ..Default::default() };
        let sagas = world.sagas().list_sagas(sagas).await.map(drop);
        for answer in [orders, products, sagas] {
            let status = answer.expect_err("no page size");
            let expected = (Code::InvalidArgument, vec!["page_size".into()]);
            assert_eq!((status.code(), fields(&status)), expected);
        }
    }
}

#[tokio::test]
async fn unknown_enum_values_are_refused() {
    let world = World::new().await;
    for value in [99, -1, i32::MAX] {
        let orders = ListOrdersRequest { status: value, ..Default::default() };
        let status = world.orders().list_orders(orders).await.expect_err("no status");
        assert_eq!(
            (status.code(), fields(&status)),
            (Code::InvalidArgument, vec!["status".into()])
        );
        let sagas = ListSagasRequest { state: value, ..Default::default() };
        let status = world.sagas().list_sagas(sagas).await.expect_err("no state");
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec!["state".into()]));
    }
}

#[tokio::test]
async fn page_tokens_that_nobody_gave_are_refused() {
    let world = World::new().await;
    for token in ["x", "00", "1", &"ab".repeat(40), "'; DROP TABLE sagas;--"] {
        let page_token = token.to_owned();
        let orders = ListOrdersRequest { page_token: page_token.clone(), ..Default::default() };
        let orders = world.orders().list_orders(orders).await.map(drop);
        let products = ListProductsRequest { page_token: page_token.clone(), page_size: 0 };
        let products = world.catalogue().list_products(products).await.map(drop);
        let sagas = ListSagasRequest { page_token, ..Default::default() };
        let sagas = world.sagas().list_sagas(sagas).await.map(drop);
        for answer in [orders, products, sagas] {
            let status = answer.expect_err("no token");
            let expected = (Code::InvalidArgument, vec!["page_token".into()]);
            assert_eq!((status.code(), fields(&status)), expected);
        }
    }
}

#[tokio::test]
async fn a_restock_with_anything_wrong_reaches_nobody() {
    let world = World::new().await;
    let sound = ReceiveStockRequest {
        sku: "teapot".into(),
        quantity: 1,
        idempotency_key: "r".into(),
        name: "Teapot".into(),
        price: Some(Money::new(750, "EUR")),
    };
    let change = |change: fn(&mut ReceiveStockRequest)| {
        let mut receipt = sound.clone();
        change(&mut receipt);
        receipt
    };
    for (receipt, field) in [
        (change(|r| r.sku.clear()), "sku"),
        (change(|r| r.quantity = 0), "quantity"),
        (change(|r| r.quantity = i64::MAX), "quantity"),
        (change(|r| r.idempotency_key.clear()), "idempotency_key"),
        (change(|r| r.name = "\0".into()), "name"),
        (change(|r| r.price = Some(Money::new(-1, "EUR"))), "price.minor_units"),
        (change(|r| r.price = Some(Money::new(1, "euro"))), "price.currency"),
    ] {
        let status = world.catalogue().restock(receipt).await.expect_err("bad input");
        assert_eq!((status.code(), fields(&status)), (Code::InvalidArgument, vec![field.into()]));
    }
    assert!(world.services.state().products.is_empty());
}

#[tokio::test]
async fn an_age_beyond_a_century_is_refused() {
    let world = World::new().await;
    let mut quarantine = QuarantineClient::new(world.channel.clone());
    for older_than_seconds in [-1, i64::MIN, 1_000_000_000_000, i64::MAX] {
        let filter = Some(SagaFilter { older_than_seconds, ..Default::default() });
        let sagas = ListSagasRequest { filter, ..Default::default() };
        let refused = world.sagas().list_sagas(sagas).await.map(drop).expect_err("no such age");
        assert_eq!(refused.code(), Code::InvalidArgument, "{older_than_seconds}");
        assert_eq!(fields(&refused), ["filter.older_than_seconds"]);
        let messages = ListQuarantinedRequest { older_than_seconds, ..Default::default() };
        let refused = quarantine.list_quarantined(messages).await.map(drop);
        assert_eq!(fields(&refused.expect_err("no such age")), ["older_than_seconds"]);
    }
    let filter = Some(SagaFilter { older_than_seconds: 3_000_000_000, ..Default::default() });
    let sagas = ListSagasRequest { filter, ..Default::default() };
    world.sagas().list_sagas(sagas).await.expect("95 years are an age");
}
