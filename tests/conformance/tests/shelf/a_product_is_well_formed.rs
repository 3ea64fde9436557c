//! What is no SKU, name, price or quantity is permanent, and nothing of it is
//! written.

use saga_core::Failure;
use saga_inventory::{
    receipt::Receipt,
    rule::{Levels, Product},
    table::{Catalogue, Claim, Shelf},
};
use saga_kit::Store;
use saga_proto::Money;

use super::{Shop, receipt};

async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
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

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    property(&Shop::postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite() {
    property(&Shop::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_memory() {
    property(&Shop::in_memory()).await;
}
