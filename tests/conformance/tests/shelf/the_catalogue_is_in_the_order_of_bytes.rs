//! Pages go by the bytes of the SKUs, whatever the database's language, each after
//! the last.

use saga_inventory::table::{Catalogue, Shelf};
use saga_kit::Store;

use super::Shop;

async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
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
