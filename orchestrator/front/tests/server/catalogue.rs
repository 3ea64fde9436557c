//! The products that clients see while pages are cached.

use std::{sync::Arc, time::Duration};

use saga_proto::{
    Money,
    inventory::v1::{Product, ReceiveStockRequest},
    shop::v1::ListProductsRequest,
};
use tonic::{Code, Status};

use crate::world::World;

/// A time to live that is longer than any test takes.
const LONG: Duration = Duration::from_secs(3_600);

/// Starts a world with one teapot in stock, in which pages are cached for `kept`.
async fn shop(kept: Duration) -> Arc<World> {
    let world = World::with(|settings| settings.catalogue_cache = kept).await;
    sell(&world, 1);
    Arc::new(world)
}

/// Sets the teapots that are left after a sale, without a call to the front door.
fn sell(world: &World, left: i64) {
    let teapot = Product { sku: "teapot".to_owned(), available: left, ..Product::default() };
    world.services.state().products.insert("teapot".to_owned(), teapot);
}

async fn teapots(world: &World) -> Result<i64, Status> {
    let page = world.catalogue().list_products(ListProductsRequest::default()).await?;
    Ok(page.into_inner().products.iter().map(|product| product.available).sum())
}

async fn restock(world: &World, quantity: i64) {
    let receipt = ReceiveStockRequest {
        sku: "teapot".to_owned(),
        quantity,
        idempotency_key: "r".to_owned(),
        name: "Teapot".to_owned(),
        price: Some(Money::new(750, "EUR")),
    };
    world.catalogue().restock(receipt).await.expect("received");
}

fn reads(world: &World) -> u64 {
    world.services.state().catalogue_reads
}

#[tokio::test]
async fn a_list_is_read_once_within_its_time_and_a_restock_shows_at_once() {
    let world = shop(LONG).await;
    assert_eq!(teapots(&world).await.expect("read"), 1);
    sell(&world, 0);
    assert_eq!(teapots(&world).await.expect("kept"), 1);
    assert_eq!(reads(&world), 1);
    restock(&world, 5).await;
    assert_eq!(teapots(&world).await.expect("kept"), 5);
    assert_eq!(reads(&world), 1, "the restock's answer was enough");
}

#[tokio::test]
async fn what_was_sold_shows_after_the_time_to_live() {
    let world = shop(Duration::from_millis(20)).await;
    assert_eq!(teapots(&world).await.expect("read"), 1);
    sell(&world, 0);
    let gone = async {
        while teapots(&world).await.expect("read") != 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(crate::world::PATIENCE, gone).await.expect("read again");
}

#[tokio::test]
async fn calls_at_once_are_one_read_and_a_restock_meanwhile_is_not_hidden_by_it() {
    let world = shop(LONG).await;
    let answers = world.services.answering.clone().write_owned().await;
    let call = || {
        let world = Arc::clone(&world);
        tokio::spawn(async move { teapots(&world).await })
    };
    let first = call();
    world.until("it is read", |world| reads(world) == 1).await;
    let second = call();
    restock(&world, 5).await;
    let third = call();
    world.until("it is read for those after the restock", |world| reads(world) == 2).await;
    drop(answers);
    assert_eq!(first.await.expect("no panic").expect("read"), 1);
    // The second call may have come before the restock was answered, or after it.
    assert!([1, 6].contains(&second.await.expect("no panic").expect("read")));
    assert_eq!(third.await.expect("no panic").expect("read"), 6);
    assert_eq!(teapots(&world).await.expect("kept"), 6);
    assert_eq!(reads(&world), 2);
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let world = shop(LONG).await;
    world.services.state().fails = Some(Status::unavailable("away"));
    assert_eq!(teapots(&world).await.expect_err("away").code(), Code::Unavailable);
    world.services.state().fails = None;
    assert_eq!(teapots(&world).await.expect("read"), 1);
}

#[tokio::test]
async fn a_cache_that_is_off_keeps_nothing() {
    let world = shop(Duration::ZERO).await;
    assert_eq!(teapots(&world).await.expect("read"), 1);
    sell(&world, 0);
    assert_eq!(teapots(&world).await.expect("read"), 0);
    assert_eq!(reads(&world), 2);
}
