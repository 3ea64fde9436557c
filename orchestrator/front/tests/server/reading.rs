//! Reading orders and the catalogue.

use saga_proto::{
    Money,
    inventory::v1::{Product, ReceiveStockRequest},
    order::v1::{Order, OrderStatus},
    shop::v1::{GetOrderRequest, ListOrdersRequest, ListProductsRequest},
};
use tonic::{Code, Response, Status};

use crate::world::{Answer, World, fields, reason, says_when, waiting};

async fn get(world: &World, id: &str) -> Result<Order, Status> {
    let request = GetOrderRequest { order_id: id.to_owned() };
    world.orders().get_order(request).await.map(Response::into_inner)
}

fn stored(id: &str, status: OrderStatus) -> Order {
    Order {
        order_id: id.to_owned(),
        customer: "Ada".to_owned(),
        status: status.into(),
        ..Order::default()
    }
}

fn put(world: &World, order: Order) {
    world.services.state().orders.insert(order.order_id.clone(), order);
}

#[tokio::test]
async fn an_order_is_pending_before_its_service_knows_it() {
    let world = World::new().await;
    world.broker.answer("create-order/action", Answer::Hold);
    let id = world.placed("k").await;
    let order = get(&world, &id).await.expect("known");
    assert_eq!(order.status(), OrderStatus::Pending);
    assert_eq!((order.order_id, order.customer), (id, "Ada".to_owned()));
    assert_eq!((order.lines[0].sku.as_str(), order.lines[0].quantity), ("teapot", 2));
    assert_eq!((order.lines[0].unit_price.as_ref(), order.total), (None, None));
    assert!(order.created_at_micros > 0);
}

#[tokio::test]
async fn an_order_that_nobody_accepted_is_not_found() {
    let world = World::new().await;
    let status = get(&world, "01890a5d-ac96-774b-bcce-b302099a8057").await.expect_err("unknown");
    assert_eq!(status.code(), Code::NotFound);
}

#[tokio::test]
async fn what_has_ended_is_told_as_its_service_tells_it() {
    let world = World::new().await;
    world.broker.answer("commit-stock/action", Answer::Hold);
    let id = world.placed("k").await;
    let confirmed =
        Order { total: Some(Money::new(1500, "EUR")), ..stored(&id, OrderStatus::Confirmed) };
    put(&world, confirmed.clone());
    assert_eq!(get(&world, &id).await.expect("known"), confirmed, "though its saga has not ended");
}

#[tokio::test]
async fn an_order_that_was_refused_before_it_came_into_being_is_rejected() {
    let world = World::new().await;
    world.broker.answer("create-order/action", Answer::Refuse("CUSTOMER_BLOCKED"));
    let id = world.place(waiting("k")).await.expect("accepted").order_id;
    let order = get(&world, &id).await.expect("known");
    assert_eq!(order.status(), OrderStatus::Rejected);
    assert_eq!(order.reason_code, "CUSTOMER_BLOCKED");
}

#[tokio::test]
async fn an_order_whose_saga_is_being_undone_is_pending_and_afterwards_rejected() {
    let world = World::new().await;
    world.broker.answer("authorise-payment/action", Answer::Refuse("CARD_DECLINED"));
    world.broker.answer("reserve-stock/compensation", Answer::Hold);
    let id = world.placed("k").await;
    put(&world, stored(&id, OrderStatus::Pending));
    world.until("it is undone", |w| w.broker.seen("reserve-stock/compensation")).await;
    assert_eq!(get(&world, &id).await.expect("known").status(), OrderStatus::Pending);
    world.broker.release("reserve-stock/compensation", Answer::Done);
    world.until_ended(&id).await;
    let order = get(&world, &id).await.expect("known");
    assert_eq!(
        (order.status(), order.reason_code.as_str()),
        (OrderStatus::Rejected, "CARD_DECLINED")
    );
}

#[tokio::test]
async fn what_a_completed_orders_service_says_of_it_is_reported() {
    let world = World::new().await;
    let id = world.place(waiting("k")).await.expect("accepted").order_id;
    let order = get(&world, &id).await.expect("known to the saga");
    assert_eq!(order.status(), OrderStatus::Confirmed);
    assert_eq!(order.total, Some(Money::new(1500, "EUR")));
    put(&world, stored(&id, OrderStatus::Pending));
    assert_eq!(get(&world, &id).await.expect("known").status(), OrderStatus::Pending);
}

#[tokio::test]
async fn while_the_order_service_is_away_nothing_is_guessed() {
    let world = World::alone().await;
    let id = world.placed("k").await;
    let status = get(&world, &id).await.expect_err("away");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "SERVICE_AWAY"));
    assert!(says_when(&status));
    assert!(!status.message().contains("127.0.0.1"), "{}", status.message());
}

#[tokio::test]
async fn the_insides_of_a_service_that_fails_are_not_told() {
    let world = World::new().await;
    let id = world.placed("k").await;
    for (code, told) in [
        (Code::Internal, Code::Internal),
        (Code::Unknown, Code::Internal),
        (Code::PermissionDenied, Code::Internal),
        (Code::Unauthenticated, Code::Internal),
        (Code::Unavailable, Code::Unavailable),
        (Code::DeadlineExceeded, Code::Unavailable),
        (Code::ResourceExhausted, Code::ResourceExhausted),
    ] {
        world.services.state().fails = Some(Status::new(code, "password=hunter2"));
        let status = get(&world, &id).await.expect_err("fails");
        assert_eq!(status.code(), told, "{code:?}");
        assert!(!format!("{status:?}").contains("hunter2"), "{status:?}");
    }
}

#[tokio::test]
async fn orders_come_in_pages_and_a_token_is_bound_to_its_filter() {
    let world = World::new().await;
    let id = |n: u32| format!("01890a5d-ac96-774b-bcce-{n:012}");
    for n in 0..5 {
        put(&world, stored(&id(n), OrderStatus::Confirmed));
    }
    let page = |page_token: String, status: OrderStatus| ListOrdersRequest {
        customer: "Ada".to_owned(),
        status: status.into(),
        page_size: 2,
        page_token,
    };
    let (mut seen, mut token) = (Vec::new(), String::new());
    loop {
        let request = page(token.clone(), OrderStatus::Confirmed);
        let answer = world.orders().list_orders(request).await.expect("a page").into_inner();
        assert!(answer.orders.len() <= 2);
        seen.extend(answer.orders.into_iter().map(|order| order.order_id));
        if answer.next_page_token.is_empty() {
            break;
        }
        token = answer.next_page_token;
    }
    assert_eq!(seen, (0..5).rev().map(id).collect::<Vec<_>>());

    let other = page(token.clone(), OrderStatus::Rejected);
    let status = world.orders().list_orders(other).await.expect_err("another filter");
    assert_eq!(
        (status.code(), fields(&status)),
        (Code::InvalidArgument, vec!["page_token".into()])
    );
    let altered = format!("{}0", &token[..token.len() - 1]);
    if altered != token {
        let altered = page(altered, OrderStatus::Confirmed);
        let status = world.orders().list_orders(altered).await.expect_err("altered");
        assert_eq!(status.code(), Code::InvalidArgument);
    }
    // A page token from a list of orders is refused for products.
    let products = ListProductsRequest { page_size: 2, page_token: token };
    let status = world.catalogue().list_products(products).await.expect_err("another method");
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn products_come_in_pages_by_sku() {
    let world = World::new().await;
    for sku in ["cup", "pot", "saucer"] {
        let product = Product { sku: sku.to_owned(), ..Product::default() };
        world.services.state().products.insert(sku.to_owned(), product);
    }
    let request = ListProductsRequest { page_size: 2, page_token: String::new() };
    let first = world.catalogue().list_products(request).await.expect("a page").into_inner();
    let skus = |products: &[Product]| products.iter().map(|p| p.sku.clone()).collect::<Vec<_>>();
    assert_eq!(skus(&first.products), ["cup", "pot"]);
    let request = ListProductsRequest { page_size: 2, page_token: first.next_page_token };
    let second = world.catalogue().list_products(request).await.expect("a page").into_inner();
    assert_eq!(
        (skus(&second.products), second.next_page_token),
        (vec!["saucer".into()], String::new())
    );
}

#[tokio::test]
async fn a_restock_is_forwarded_and_what_the_caller_did_wrong_is_passed_on() {
    let world = World::new().await;
    let mut receipt = ReceiveStockRequest {
        sku: "teapot".into(),
        quantity: 3,
        idempotency_key: "r".into(),
        ..Default::default()
    };
    let status = world.catalogue().restock(receipt.clone()).await.expect_err("no name");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "a new product needs a name and a price");
    receipt.name = "Teapot".into();
    receipt.price = Some(Money::new(750, "EUR"));
    let product = world.catalogue().restock(receipt).await.expect("received").into_inner();
    assert_eq!((product.sku.as_str(), product.available), ("teapot", 3));
}
