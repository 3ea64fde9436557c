//! Reads over gRPC.

use std::time::Duration;

use saga_core::SagaId;
use saga_proto::order::v1::{Order, OrderStatus, ReadOrderRequest, ReadOrdersRequest};
use saga_test_support::eventually;
use tonic::{Code, Status};

use crate::support::{Shop, confirmation, order, pool, rejection, saga};

fn all() -> ReadOrdersRequest {
    ReadOrdersRequest { limit: 500, ..Default::default() }
}

fn of(customer: &str) -> ReadOrdersRequest {
    ReadOrdersRequest { customer: customer.to_owned(), ..all() }
}

async fn page(shop: &Shop, request: ReadOrdersRequest) -> Result<Vec<Order>, Status> {
    Ok(shop.client().read_orders(request).await?.into_inner().orders)
}

async fn ids(shop: &Shop, request: ReadOrdersRequest) -> Vec<String> {
    let orders = page(shop, request).await.expect("a page");
    orders.into_iter().map(|order| order.order_id).collect()
}

/// Creates orders for a customer, and returns their ids, newest first.
async fn create(shop: &Shop, customer: &str, count: usize) -> Vec<SagaId> {
    let orders: Vec<_> = (0..count).map(|_| (saga(), order(customer))).collect();
    shop.run(&orders).await;
    let mut ids: Vec<SagaId> = orders.into_iter().map(|(id, _)| id).collect();
    ids.sort_by(|a, b| b.cmp(a));
    ids
}

fn texts(ids: &[SagaId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_read_newest_first_and_page_by_page() {
    let shop = Shop::open("pages").await;
    let ada = create(&shop, "Ada", 7).await;
    let bob = create(&shop, "Bob", 2).await;
    assert_eq!(ids(&shop, all()).await, [texts(&bob), texts(&ada)].concat());
    assert_eq!(ids(&shop, of("Cleo")).await, Vec::<String>::new());
    let mut seen = Vec::new();
    loop {
        let before = seen.last().cloned().unwrap_or_default();
        let orders = ids(&shop, ReadOrdersRequest { before, limit: 3, ..of("Ada") }).await;
        if orders.is_empty() {
            break;
        }
        seen.extend(orders);
    }
    assert_eq!(seen, texts(&ada));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_read_by_where_they_stand() {
    let shop = Shop::open("status").await;
    let orders = create(&shop, "Ada", 4).await;
    shop.run(&[(orders[0], confirmation())]).await;
    shop.run(&[(orders[1], rejection(false)), (orders[2], rejection(true))]).await;
    for (place, status) in [
        (3, OrderStatus::Pending),
        (0, OrderStatus::Confirmed),
        (1, OrderStatus::Rejected),
        (2, OrderStatus::Cancelled),
    ] {
        for request in [all(), of("Ada")] {
            let request = ReadOrdersRequest { status: status.into(), ..request };
            assert_eq!(ids(&shop, request).await, [orders[place].to_string()]);
        }
    }
    let listed = page(&shop, of("Ada")).await.expect("a page");
    assert_eq!(listed[0], shop.read(orders[0]).await, "a list says the same as a single read");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused() {
    let shop = Shop::open("bad").await;
    for (order_id, code) in [
        (saga().to_string(), Code::NotFound),
        (String::new(), Code::InvalidArgument),
        ("'; DROP TABLE orders; --".to_owned(), Code::InvalidArgument),
        (saga().to_string().to_uppercase(), Code::InvalidArgument),
    ] {
        let refused = shop.client().read_order(ReadOrderRequest { order_id }).await;
        assert_eq!(refused.expect_err("it is refused").code(), code);
    }
    for request in [
        ReadOrdersRequest { limit: 0, ..all() },
        ReadOrdersRequest { limit: 501, ..all() },
        ReadOrdersRequest { limit: i32::MIN, ..all() },
        ReadOrdersRequest { status: 99, ..all() },
        ReadOrdersRequest { before: "yesterday".into(), ..all() },
        of("nul\0"),
    ] {
        let refused = page(&shop, request).await.expect_err("it is refused");
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_told_without_its_secrets() {
    let shop = Shop::open("away").await;
    shop.pool.close().await;
    let away = page(&shop, all()).await.expect_err("nobody is there");
    assert_eq!((away.code(), away.message()), (Code::Unavailable, "the orders cannot be read now"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_read_through_an_index_however_many_orders_there_are() {
    let shop = Shop::open("index").await;
    for statement in [
        "INSERT INTO orders (order_id, customer, caller)
         SELECT gen_random_uuid(), 'customer ' || n % 100, 'anonymous' FROM generate_series(1, 20000) n",
        "INSERT INTO order_lines (order_id, line_no, sku, quantity)
         SELECT order_id, n, 'sku' || n, 1 FROM orders, generate_series(1, 2) n",
        "ANALYZE",
    ] {
        sqlx::query(statement).execute(&shop.pool).await.expect("it is filled");
    }
    shop.pool.close().await;
    // The statistics are complete only after the sessions have ended.
    let watcher = pool(&shop.url).await;
    let scans = async || -> (i64, i64) {
        let sql = "SELECT sum(seq_scan)::bigint, sum(idx_scan)::bigint FROM pg_stat_user_tables
                   WHERE relname IN ('orders', 'order_lines')";
        sqlx::query_as(sql).fetch_one(&watcher).await.expect("two numbers")
    };
    let (before, _) = eventually("the statistics", Duration::from_secs(10), async || {
        Some(scans().await).filter(|(sequential, _)| *sequential >= 1)
    })
    .await;
    let reader = Shop { pool: pool(&shop.url).await, ..shop };
    // Only after several executions does Postgres choose a plan that serves for all values.
    for _ in 0..10 {
        for request in [of("customer 7"), all()] {
            assert_eq!(ids(&reader, ReadOrdersRequest { limit: 5, ..request }).await.len(), 5);
        }
    }
    reader.pool.close().await;
    let pages = eventually("the statistics", Duration::from_secs(10), async || {
        Some(scans().await).filter(|(_, indexed)| *indexed >= 40)
    })
    .await;
    assert_eq!(pages.0, before, "a table was read from end to end");
}
