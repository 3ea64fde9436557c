//! The levels, the ledger of their movements, and the catalogue.

use futures::future::join_all;
use saga_core::Failure;
use saga_inventory::{
    rule::{Levels, Product},
    table::{Catalogue, Closing, Reservation, Shelf},
};
use saga_kit::Store;

use super::{Shop, line, price, receipt, saga};

holds_on! { Shop::{postgres, sqlite, in_memory}:
    stock_that_does_not_add_up_is_never_written,
    a_doubled_movement_is_refused,
    what_does_not_exist_is_not_locked,
    locks_in_opposite_order_do_not_deadlock,
    the_catalogue_is_in_the_order_of_bytes,
}

/// No level is negative, and the levels add up to the received quantity, also beyond 64 bits. A
/// write that breaks this fails for good, and nothing of it is written.
async fn stock_that_does_not_add_up_is_never_written<S: Store<Tx: Shelf>, C: Catalogue>(
    shop: Shop<S, C>,
) {
    const MAX: i64 = i64::MAX;
    shop.stock("cup", 10).await;
    shop.stock("teapot", 10).await;
    let ours = saga();
    shop.reserve(ours, &[("cup", 4)]).await.expect("it is there");
    let (cup, teapot) = (shop.product("cup").await, shop.product("teapot").await);
    let unchanged = async || {
        assert_eq!(
            (shop.product("cup").await, shop.product("teapot").await),
            (cup.clone(), teapot.clone())
        );
        assert_eq!(shop.probe.number("SELECT count(*) FROM movements").await, 3);
        assert_eq!(shop.probe.number("SELECT count(*) FROM reservations").await, 1);
    };
    let with = |product: &Product, available, reserved, sold| {
        let levels = Levels { available, reserved, sold, ..product.levels };
        Product { levels, ..product.clone() }
    };
    let permanent = |result: Result<(), Failure>| {
        assert!(matches!(result, Err(Failure::Permanent(_))), "{result:?}");
    };

    for (available, reserved) in
        [(7, 4), (5, 4), (-1, 11), (11, -1), (MAX, MAX), (MAX, 1), (i64::MIN, i64::MIN)]
    {
        let saga = saga();
        let held = ["teapot", "cup"].map(|sku| Reservation {
            saga,
            line: line(sku, 1),
            unit_price: price(),
        });
        let (good, bad) = (with(&teapot, 9, 1, 0), with(&cup, available, reserved, 0));
        let mut tx = shop.store.begin().await.expect("a transaction");
        permanent(tx.reserve(&[&good, &bad], &held).await);
        drop(tx);
        unchanged().await;
    }
    for (available, reserved, sold) in [
        (6, 4, 1),
        (6, 0, 3),
        (10, -4, 4),
        (14, 0, -4),
        (MAX, 1, MAX),
        (MAX, MAX, 12),
        (1, MAX, MAX),
    ] {
        let bad = with(&cup, available, reserved, sold);
        let mut tx = shop.store.begin().await.expect("a transaction");
        let closed = tx.close(&[ours], Closing::Committed).await.expect("it is held");
        permanent(tx.settle(&[&bad], &closed, Closing::Committed).await);
        drop(tx);
        unchanged().await;
    }
    for (received, available, reserved, sold) in [
        (11, 10, 0, 0),
        (-1, -1, 0, 0),
        (0, MAX, MAX, 2),
        (MAX, MAX, MAX, MAX),
        (MAX, 1, MAX, MAX),
        (MAX - 1, MAX, 0, 0),
        (MAX, MAX - 1, 0, 0),
        (MAX, 9_223_372_036_854_774_784, 0, 0),
    ] {
        let levels = Levels { received, available, reserved, sold };
        let receipt = receipt("new", "new", 1);
        let product = Product { sku: "new".to_owned(), levels, ..cup.clone() };
        let mut tx = shop.store.begin().await.expect("a transaction");
        tx.claim(&receipt).await.expect("it is free");
        permanent(tx.receive(&product, &receipt).await);
        drop(tx);
        unchanged().await;
    }
    assert_eq!(shop.probe.number("SELECT count(*) FROM receipts").await, 2);
}

/// The ledger has every change once, even if the program repeats it: a doubled movement is a
/// conflict, and nothing of it is written.
async fn a_doubled_movement_is_refused<S: Store<Tx: Shelf>, C: Catalogue>(shop: Shop<S, C>) {
    shop.stock("cup", 10).await;
    for how in [Closing::Released, Closing::Committed] {
        let ours = saga();
        shop.reserve(ours, &[("cup", 2)]).await.expect("it is there");
        shop.close(ours, how).await.expect("it is held");
        let before = shop.product("cup").await;
        // Simulates a program that overlooks that no reservation is open.
        let mut tx = shop.store.begin().await.expect("a transaction");
        tx.lock(&["cup".to_owned()]).await.expect("it exists");
        let again = tx.settle(&[&before], &[(ours, line("cup", 2))], how).await;
        assert!(matches!(again, Err(Failure::Conflict(_))), "{again:?}");
        drop(tx);
        assert_eq!(shop.product("cup").await, before);
    }
    let before = shop.product("cup").await;
    // Simulates a program that does not check the receipt's key.
    let known = receipt("first cup", "cup", 10);
    let product = known.take_in(Some(before.clone())).expect("it can be counted");
    let mut tx = shop.store.begin().await.expect("a transaction");
    let again = tx.receive(&product, &known).await;
    assert!(matches!(again, Err(Failure::Conflict(_))), "{again:?}");
    drop(tx);
    assert_eq!(shop.product("cup").await, before);
    assert_eq!(shop.probe.number("SELECT count(*) FROM movements").await, 5);
}

/// Locking returns the existing products, sorted by SKU, and leaves out the others.
async fn what_does_not_exist_is_not_locked<S: Store<Tx: Shelf>, C: Catalogue>(shop: Shop<S, C>) {
    for sku in ["b", "a", "c"] {
        shop.stock(sku, 5).await;
    }
    let mut tx = shop.store.begin().await.expect("a transaction");
    let skus = ["c", "unknown", "a", "A", "a ", "%", ""].map(ToOwned::to_owned);
    let stock = tx.lock(&skus).await.expect("the rows");
    assert_eq!(stock.keys().collect::<Vec<_>>(), ["a", "c"]);
    assert_eq!(tx.lock(&[]).await.expect("nothing").len(), 0);
    drop(tx);
    assert_eq!(stock["a"], shop.product("a").await);
}

/// Transactions that lock the same products in different sequences wait, but do not deadlock.
pub(super) async fn locks_in_opposite_order_do_not_deadlock<S: Store<Tx: Shelf>, C: Catalogue>(
    shop: Shop<S, C>,
) {
    let skus: Vec<String> = (0..20).map(|n| format!("sku{n}")).collect();
    for sku in &skus {
        shop.stock(sku, 1).await;
    }
    let replicas = (0..8).map(|replica| {
        let (store, mut skus) = (shop.store.clone(), skus.clone());
        if replica % 2 == 1 {
            skus.reverse();
        }
        skus.rotate_left(replica * 2);
        tokio::spawn(async move {
            for _ in 0..10 {
                let mut tx = store.begin().await.expect("a transaction");
                let stock = tx.lock(&skus).await.expect("no deadlock");
                let products: Vec<_> = stock.values().collect();
                assert_eq!(products.len(), skus.len());
                tx.reserve(&products, &[]).await.expect("no deadlock");
                store.commit(tx).await.expect("committed");
            }
        })
    });
    for replica in join_all(replicas).await {
        replica.expect("no conflict");
    }
}

/// Pages are sorted by the bytes of the SKUs, whatever the database's language, and each begins
/// after the last.
async fn the_catalogue_is_in_the_order_of_bytes<S: Store<Tx: Shelf>, C: Catalogue>(
    shop: Shop<S, C>,
) {
    let mut skus =
        ["z", "b", "a", "a.b", "a-b", "a_b", "ab", "a1", "a10", "a9", "9", "10", "-", "_", "."];
    for sku in skus {
        shop.stock(sku, 1).await;
    }
    skus.sort_unstable();
    for limit in [1, 4, 500] {
        let mut seen: Vec<String> = Vec::new();
        loop {
            let after = seen.last().cloned().unwrap_or_default();
            let page = shop.catalogue.page(&after, limit).await.expect("a page");
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= limit as usize);
            seen.extend(page.into_iter().map(|product| product.sku));
        }
        assert_eq!(seen, skus);
    }
    let after = |after: &'static str| {
        let page = shop.catalogue.page(after, 1);
        async { page.await.expect("a page").into_iter().map(|p| p.sku).collect::<Vec<_>>() }
    };
    assert_eq!(after("a-").await, ["a-b"], "what it is after need not exist");
    assert_eq!(after("Z").await, ["_"]);
    assert_eq!(after("\u{1F375}").await, Vec::<String>::new());
    assert_eq!(shop.catalogue.page("", 0).await.expect("a page").len(), 0);
}
