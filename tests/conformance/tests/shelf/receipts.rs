//! Receipts of goods, and the products that they create.

use std::time::{Duration, Instant};

use futures::future::join_all;
use saga_core::Failure;
use saga_inventory::{
    receipt::Receipt,
    rule::{Levels, Product},
    table::{Catalogue, Claim, Closing, Shelf},
};
use saga_kit::Store;
use saga_proto::Money;

use super::{Shop, receipt, receive, saga};

holds_on! { Shop::{postgres, sqlite, in_memory}:
    a_receipts_key_is_taken_once,
    whoever_wants_a_claimed_key_waits,
    receipts_at_once_are_all_counted,
    a_receipt_renames_and_prices_a_known_product,
    a_product_is_well_formed,
}

/// A key is new, or comes again with the same receipt, or was used for another receipt. Keys are
/// compared byte by byte.
async fn a_receipts_key_is_taken_once<S: Store<Tx: Shelf>, C: Catalogue>(shop: Shop<S, C>) {
    let claim = async |receipt: &Receipt, keep: bool| {
        let mut tx = shop.store.begin().await.expect("a transaction");
        let claim = tx.claim(receipt).await.expect("no conflict");
        if keep {
            shop.store.commit(tx).await.expect("committed");
        }
        claim
    };
    let ours = receipt("Key 1", "cup", 5);
    assert_eq!(claim(&ours, false).await, Claim::New);
    assert_eq!(claim(&ours, true).await, Claim::New, "what is dropped stays free");
    assert_eq!(claim(&ours, true).await, Claim::Repeated);
    for other in [
        receipt("Key 1", "cup", 6),
        receipt("Key 1", "teapot", 5),
        Receipt { name: None, ..ours.clone() },
        Receipt { price: None, ..ours.clone() },
        Receipt { price: Some(Money::new(1, "USD")), ..ours.clone() },
    ] {
        assert_eq!(claim(&other, true).await, Claim::Taken, "{other:?}");
    }
    assert_eq!(claim(&ours, true).await, Claim::Repeated);
    for key in ["key 1", "Key 1 ", "KEY 1", "Key  1", "Key", "Key%", "1"] {
        assert_eq!(claim(&receipt(key, "cup", 5), true).await, Claim::New, "{key}");
    }
}

/// A second claim of a key waits for the first one's transaction: if that commits, the second is a
/// repetition; if it is dropped, the second is new.
pub(super) async fn whoever_wants_a_claimed_key_waits<S: Store<Tx: Shelf>, C: Catalogue>(
    shop: Shop<S, C>,
) {
    for (key, commit) in [("committed", true), ("dropped", false)] {
        let receipt = receipt(key, "cup", 5);
        let mut first = shop.store.begin().await.expect("a transaction");
        assert_eq!(first.claim(&receipt).await, Ok(Claim::New));
        let second = async {
            let mut tx = shop.store.begin().await.expect("a transaction");
            let claim = tx.claim(&receipt).await.expect("no conflict");
            (claim, Instant::now())
        };
        let ending = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let ended = Instant::now();
            if commit {
                shop.store.commit(first).await.expect("committed");
            } else {
                drop(first);
            }
            ended
        };
        let ((claim, got), ended) = tokio::join!(second, ending);
        assert!(got >= ended, "it waited");
        assert_eq!(claim, if commit { Claim::Repeated } else { Claim::New });
    }
}

/// Of two receipts that add the same new product at once, the second is a conflict and tried
/// again, so no receipt is overwritten or lost.
async fn receipts_at_once_are_all_counted<S: Store<Tx: Shelf>, C: Catalogue>(shop: Shop<S, C>) {
    const RECEIPTS: i64 = 8;
    // A receipt that was decided on before the product existed.
    let late = receipt("late", "cup", 3);
    let stale = late.take_in(None).expect("it is described");
    shop.stock("cup", 5).await;
    let mut tx = shop.store.begin().await.expect("a transaction");
    tx.claim(&late).await.expect("it is free");
    let overwritten = tx.receive(&stale, &late).await;
    assert!(matches!(overwritten, Err(Failure::Conflict(_))), "{overwritten:?}");
    drop(tx);
    assert_eq!(shop.levels("cup").await.received, 5);
    assert_eq!(shop.probe.number("SELECT count(*) FROM movements").await, 1);

    for round in 0..5 {
        let sku = format!("new{round}");
        let receipts = (0..RECEIPTS).map(|n| {
            let (store, receipt) = (shop.store.clone(), receipt(&format!("{n} {sku}"), &sku, 1));
            tokio::spawn(async move {
                loop {
                    match receive(&store, &receipt).await {
                        Ok(()) => return,
                        Err(Failure::Conflict(_)) => tokio::task::yield_now().await,
                        Err(failure) => panic!("{failure:?}"),
                    }
                }
            })
        });
        for received in join_all(receipts).await {
            received.expect("it gets through");
        }
        let levels = Levels { received: RECEIPTS, available: RECEIPTS, reserved: 0, sold: 0 };
        assert_eq!(shop.levels(&sku).await, levels);
    }
}

/// A receipt of a known product changes its name, price and available quantity, but not its
/// reservations.
async fn a_receipt_renames_and_prices_a_known_product<S: Store<Tx: Shelf>, C: Catalogue>(
    shop: Shop<S, C>,
) {
    shop.stock("cup", 10).await;
    let (sold, held) = (saga(), saga());
    shop.reserve(sold, &[("cup", 2)]).await.expect("it is there");
    shop.close(sold, Closing::Committed).await.expect("it is held");
    shop.reserve(held, &[("cup", 3)]).await.expect("it is there");
    let renamed = Receipt {
        name: Some("Tasse \u{1F375}".to_owned()),
        price: Some(Money::new(i64::MAX, "USD")),
        ..receipt("more", "cup", i64::MAX - 10)
    };
    receive(&shop.store, &renamed).await.expect("it can be counted");
    let expected = Product {
        sku: "cup".to_owned(),
        name: "Tasse \u{1F375}".to_owned(),
        price: Money::new(i64::MAX, "USD"),
        levels: Levels { received: i64::MAX, available: i64::MAX - 5, reserved: 3, sold: 2 },
    };
    assert_eq!(shop.product("cup").await, expected);
}

/// A malformed SKU, name, price or quantity fails for good, and nothing of it is written.
async fn a_product_is_well_formed<S: Store<Tx: Shelf>, C: Catalogue>(shop: Shop<S, C>) {
    let product = |sku: &str, name: &str, price: Money| Product {
        sku: sku.to_owned(),
        name: name.to_owned(),
        price,
        levels: Levels { received: 1, available: 1, reserved: 0, sold: 0 },
    };
    let cents = |amount, currency: &str| Money::new(amount, currency);
    let longest = "x".repeat(64);
    let names = ["x", "A \u{1F375}", "it's\n", " "];
    for (sku, name) in ["a", "-", "_.-", longest.as_str()].into_iter().zip(names) {
        let good = product(sku, name, cents(i64::MAX, "XXX"));
        let receipt = receipt(&format!("good {sku}"), sku, 1);
        let mut tx = shop.store.begin().await.expect("a transaction");
        assert_eq!(tx.claim(&receipt).await, Ok(Claim::New));
        tx.receive(&good, &receipt).await.expect("it is sound");
        shop.store.commit(tx).await.expect("committed");
        assert_eq!(shop.product(sku).await, good);
    }
    let skus =
        ["", "A", "a ", "a\n", "\na", "a\0", "\0", "e\u{301}", "\u{e9}", "a/b", "a^b", "[a]", "a*"];
    let long = "x".repeat(65);
    let mut wrong: Vec<Product> = skus
        .into_iter()
        .chain([long.as_str()])
        .map(|sku| product(sku, "A", cents(1, "EUR")))
        .collect();
    for name in ["", "nul\0", "\0"] {
        wrong.push(product("new", name, cents(1, "EUR")));
    }
    for amount in [0, -1, i64::MIN] {
        wrong.push(product("new", "A", cents(amount, "EUR")));
    }
    for currency in ["", "eur", "EU", "EURO", "EU\u{c9}", "EUR\n", "EUR\0", " EU"] {
        wrong.push(product("new", "A", cents(1, currency)));
    }
    for wrong in wrong {
        let receipt = receipt("wrong", "new", 1);
        let mut tx = shop.store.begin().await.expect("a transaction");
        let refused = tx.receive(&wrong, &receipt).await;
        assert!(matches!(refused, Err(Failure::Permanent(_))), "{wrong:?}: {refused:?}");
    }
    for wrong in [
        Receipt { quantity: 0, ..receipt("wrong", "new", 1) },
        receipt("wrong", "new", i64::MIN),
        receipt("nul\0", "new", 1),
        receipt("wrong", "nul\0", 1),
    ] {
        let mut tx = shop.store.begin().await.expect("a transaction");
        let refused = tx.claim(&wrong).await;
        assert!(matches!(refused, Err(Failure::Permanent(_))), "{wrong:?}: {refused:?}");
    }
    assert_eq!(shop.probe.number("SELECT count(*) FROM products").await, 4);
    assert_eq!(shop.probe.number("SELECT count(*) FROM movements").await, 4);
    assert_eq!(shop.probe.number("SELECT count(*) FROM receipts").await, 4);
}
