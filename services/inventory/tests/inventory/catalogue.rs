//! The catalogue over gRPC.

use futures::future::join_all;
use saga_proto::{
    Money,
    inventory::v1::{Product, ReadProductsRequest, ReceiveStockRequest},
};
use tonic::{Code, Response, Status};

use crate::support::Shop;

fn receipt(key: &str, sku: &str, quantity: i64) -> ReceiveStockRequest {
    ReceiveStockRequest {
        sku: sku.to_owned(),
        quantity,
        idempotency_key: key.to_owned(),
        name: format!("A {sku}"),
        price: Some(Money::new(300, "EUR")),
    }
}

async fn receive(shop: &Shop, request: ReceiveStockRequest) -> Result<Product, Status> {
    shop.client().receive_stock(request).await.map(Response::into_inner)
}

async fn page(shop: &Shop, after: &str, limit: i32) -> Result<Vec<Product>, Status> {
    let request = ReadProductsRequest { after: after.to_owned(), limit };
    Ok(shop.client().read_products(request).await?.into_inner().products)
}

fn code<T: std::fmt::Debug>(result: Result<T, Status>) -> Code {
    result.expect_err("it is refused").code()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_receipt_adds_its_goods_once() {
    let shop = Shop::open("receipt").await;
    let first = receive(&shop, receipt("k1", "cup", 10)).await.expect("new goods");
    assert_eq!((first.received, first.available), (10, 10));
    let again = receive(&shop, receipt("k1", "cup", 10)).await.expect("a repetition");
    assert_eq!(again, first);
    assert_eq!(code(receive(&shop, receipt("k1", "cup", 11)).await), Code::AlreadyExists);
    assert_eq!(code(receive(&shop, receipt("k1", "teapot", 10)).await), Code::AlreadyExists);
    let second = receive(&shop, receipt("k2", "cup", 5)).await.expect("more goods");
    assert_eq!((second.received, second.available), (15, 15));
    shop.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_product_needs_a_name_and_a_price_and_a_refused_key_stays_free() {
    let shop = Shop::open("new_product").await;
    let nameless = ReceiveStockRequest { name: String::new(), ..receipt("k1", "cup", 1) };
    assert_eq!(code(receive(&shop, nameless).await), Code::FailedPrecondition);
    let priceless = ReceiveStockRequest { price: None, ..receipt("k1", "cup", 1) };
    assert_eq!(code(receive(&shop, priceless.clone()).await), Code::FailedPrecondition);
    receive(&shop, receipt("k1", "cup", 1)).await.expect("the key is free");
    let plain =
        ReceiveStockRequest { idempotency_key: "k2".into(), name: String::new(), ..priceless };
    let product = receive(&shop, plain).await.expect("it is known");
    assert_eq!((product.name.as_str(), product.received), ("A cup", 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_and_have_no_effect() {
    let shop = Shop::open("bad").await;
    for request in [
        receipt("", "cup", 1),
        receipt(&"x".repeat(1_000_000), "cup", 1),
        receipt("k", "Cup", 1),
        receipt("k", "cup", 0),
        receipt("k", "cup", i64::MIN),
        ReceiveStockRequest { name: "nul\0".into(), ..receipt("k", "cup", 1) },
        ReceiveStockRequest { price: Some(Money::new(-1, "EUR")), ..receipt("k", "cup", 1) },
        ReceiveStockRequest { price: Some(Money::new(1, "€")), ..receipt("k", "cup", 1) },
    ] {
        assert_eq!(code(receive(&shop, request).await), Code::InvalidArgument);
    }
    receive(&shop, receipt("k", "cup", i64::MAX)).await.expect("it can be counted");
    assert_eq!(code(receive(&shop, receipt("l", "cup", 1)).await), Code::OutOfRange);
    assert_eq!(shop.count("SELECT count(*) FROM receipts").await, 1);
    shop.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_that_come_at_once_are_all_counted_and_each_once() {
    let shop = Shop::open("receipts").await;
    // Each key is used by two receipts, and all receipts add the same new product.
    let receipts = (0..16).map(|n| {
        let shop = shop.clone();
        tokio::spawn(async move { receive(&shop, receipt(&format!("k{}", n / 2), "cup", 1)).await })
    });
    for received in join_all(receipts).await {
        received.expect("no panic").expect("it gets through");
    }
    assert_eq!(shop.levels("cup").await.received, 8);
    shop.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_no_open_transaction() {
    let shop = Shop::open("gone").await;
    receive(&shop, receipt("first", "cup", 1)).await.expect("new goods");
    for n in 0..50 {
        let receiving = receive(&shop, receipt(&format!("k{n}"), "cup", 1));
        let patience = std::time::Duration::from_micros(n * 40);
        let _ = tokio::time::timeout(patience, receiving).await;
    }
    let open = "SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    saga_test_support::eventually(
        "the receipts to end",
        std::time::Duration::from_secs(10),
        async || {
            let received = shop.levels("cup").await.received;
            let recorded = shop.count("SELECT count(*) FROM receipts").await;
            (shop.count(open).await == 0 && received == recorded).then_some(())
        },
    )
    .await;
    shop.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_is_read_page_by_page_in_the_order_of_bytes() {
    let shop = Shop::open("pages").await;
    for sku in ["b", "a", "a.b", "a-b", "a_b", "z9"] {
        shop.product(sku, 100, 1).await;
    }
    let mut skus: Vec<String> = Vec::new();
    loop {
        let after = skus.last().cloned().unwrap_or_default();
        let products = page(&shop, &after, 4).await.expect("a page");
        if products.is_empty() {
            break;
        }
        skus.extend(products.into_iter().map(|product| product.sku));
    }
    assert_eq!(skus, ["a", "a-b", "a.b", "a_b", "b", "z9"]);
    for limit in [0, -1, 501, i32::MAX, i32::MIN] {
        assert_eq!(code(page(&shop, "", limit).await), Code::InvalidArgument);
    }
    assert_eq!(code(page(&shop, "nul\0", 1).await), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_told_without_its_secrets() {
    let shop = Shop::open("away").await;
    shop.pool.close().await;
    let status = receive(&shop, receipt("k", "cup", 1)).await.expect_err("nobody is there");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().starts_with("the catalogue cannot be used now"), "{status}");
    assert_eq!(code(page(&shop, "", 1).await), Code::Unavailable);
}
