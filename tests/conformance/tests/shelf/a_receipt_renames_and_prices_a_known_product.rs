//! Goods for a known product change its name, its price and what there is, and
//! nothing of what is held.

use saga_inventory::{
    receipt::Receipt,
    rule::{Levels, Product},
    table::{Catalogue, Closing, Shelf},
};
use saga_kit::Store;
use saga_proto::Money;

use super::{Shop, receipt, receive, saga};

async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
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
