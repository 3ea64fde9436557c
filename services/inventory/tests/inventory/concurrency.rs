//! Many concurrent transactions on the same products.

use std::time::{Duration, Instant};

use futures::future::join_all;
use saga_core::{Answer, SagaId};
use saga_inventory::rule::Levels;
use saga_proto::inventory::v1::{CommitStock, ReleaseStock, ReserveStock};

use crate::support::{Shop, code, done, saga, wish};

const BUYERS: usize = 8;
const ROUNDS: usize = 25;

#[tokio::test(flavor = "multi_thread")]
async fn opposite_orders_of_the_same_products_never_deadlock_and_never_oversell() {
    let shop = Shop::open("opposite").await;
    let stock = 150;
    for sku in ["cup", "kettle", "teapot"] {
        shop.product(sku, 100, stock).await;
    }
    let orders = [
        wish(&[("cup", 1), ("kettle", 1), ("teapot", 1)]),
        wish(&[("teapot", 1), ("kettle", 1), ("cup", 1)]),
        wish(&[("kettle", 1), ("teapot", 1), ("cup", 1)]),
    ];
    let buyers = (0..BUYERS).map(|buyer| {
        let (shop, orders) = (shop.clone(), orders.clone());
        tokio::spawn(async move {
            let mut sold = 0;
            for round in 0..ROUNDS {
                // A deadlock would show as a conflict, which this test does not retry.
                let order = |n: usize| (saga(), orders[(buyer + n) % orders.len()].clone());
                let answers = shop.run(&[order(round), order(round + 1)]).await;
                sold += answers.iter().filter(|a| matches!(a, Answer::Done(_))).count();
                assert!(answers.iter().all(|a| ["done", "OUT_OF_STOCK"].contains(&code(a))));
            }
            sold
        })
    });
    let sold: usize = join_all(buyers).await.into_iter().map(|n| n.expect("no conflict")).sum();
    assert_eq!(sold, 150, "{} wanted one of each", 2 * BUYERS * ROUNDS);
    for sku in ["cup", "kettle", "teapot"] {
        let levels = Levels { received: stock, available: 0, reserved: stock, sold: 0 };
        assert_eq!(shop.levels(sku).await, levels);
    }
    shop.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reserving_giving_back_and_selling_at_once_never_deadlock_and_balance() {
    let shop = Shop::open("mixed").await;
    let skus = ["a", "b", "c", "d", "e"];
    for sku in skus {
        shop.product(sku, 100, 1_000).await;
    }
    let buyers = (0..BUYERS).map(|buyer| {
        let shop = shop.clone();
        tokio::spawn(async move {
            for round in 0..ROUNDS {
                let n = buyer + round;
                let pick = |k: usize| (skus[(n * (k + 1)) % skus.len()], 1 + k as i64);
                let order: ReserveStock = if pick(0).0 == pick(1).0 {
                    wish(&[pick(0)])
                } else {
                    wish(&[pick(1), pick(0)])
                };
                let sagas: Vec<SagaId> = (0..3).map(|_| saga()).collect();
                let batch: Vec<_> = sagas.iter().map(|saga| (*saga, order.clone())).collect();
                shop.run(&batch).await;
                // Released in the opposite order to the reservations.
                shop.run(&[(sagas[2], ReleaseStock {}), (sagas[0], ReleaseStock {})]).await;
                shop.run(&[(sagas[1], CommitStock {})]).await;
            }
        })
    });
    for ended in join_all(buyers).await {
        ended.expect("no conflict");
    }
    assert_eq!(shop.count("SELECT count(*) FROM reservations WHERE state = 'open'").await, 0);
    shop.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_sale_and_a_release_of_the_same_reservation_one_finds_nothing() {
    let shop = Shop::open("race").await;
    shop.product("cup", 300, 100).await;
    for _ in 0..ROUNDS {
        let ours = saga();
        done(shop.run(&[(ours, wish(&[("cup", 1)]))]).await);
        let (sale, release) = (&[(ours, CommitStock {})], &[(ours, ReleaseStock {})]);
        let (sold, released) = tokio::join!(shop.run(sale), shop.run(release));
        let released = done(released).lines.len();
        let sold = usize::from(matches!(sold[0], Answer::Done(_)));
        assert_eq!(sold + released, 1);
    }
    shop.audit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_five_hundred_orders_gets_through_at_once() {
    let shop = Shop::open("many").await;
    shop.product("cup", 300, 1_000).await;
    let orders: Vec<_> = (0..500).map(|_| (saga(), wish(&[("cup", 1)]))).collect();
    let began = Instant::now();
    let answers = shop.run(&orders).await;
    assert!(answers.iter().all(|answer| code(answer) == "done"));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(shop.levels("cup").await.reserved, 500);
    shop.audit().await;
}
