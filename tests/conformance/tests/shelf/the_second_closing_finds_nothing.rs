//! What was closed is returned once, sagas and SKUs in the order of their bytes.

use saga_inventory::table::{Catalogue, Closing, Shelf};
use saga_kit::Store;

use super::{Shop, line, saga};

async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
    for sku in ["b", "a_b", "a.b", "a-b", "a"] {
        shop.stock(sku, 10).await;
    }
    let mut sagas = [saga(), saga(), saga()];
    sagas.sort();
    let [first, second, other] = sagas;
    shop.reserve(second, &[("b", 1), ("a", 2)]).await.expect("it is there");
    shop.reserve(first, &[("b", 3), ("a_b", 4), ("a.b", 5), ("a-b", 6)])
        .await
        .expect("it is there");
    shop.reserve(other, &[("b", 1)]).await.expect("it is there");
    let mut tx = shop.store.begin().await.expect("a transaction");
    let closed = tx.close(&[second, saga(), first, second], Closing::Released).await;
    let expected = [
        (first, line("a-b", 6)),
        (first, line("a.b", 5)),
        (first, line("a_b", 4)),
        (first, line("b", 3)),
        (second, line("a", 2)),
        (second, line("b", 1)),
    ];
    assert_eq!(closed.as_deref(), Ok(&expected[..]));
    for how in [Closing::Released, Closing::Committed] {
        assert_eq!(tx.close(&[first, second], how).await, Ok(vec![]));
    }
    shop.store.commit(tx).await.expect("committed");
    let mut tx = shop.store.begin().await.expect("a transaction");
    assert_eq!(tx.close(&[first, second], Closing::Committed).await, Ok(vec![]));
    assert_eq!(tx.close(&[], Closing::Committed).await, Ok(vec![]));
    let others = tx.close(&[first, other], Closing::Committed).await;
    assert_eq!(others, Ok(vec![(other, line("b", 1))]));
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
