//! The ledger has every change once, whatever the program does: a doubled effect is
//! a conflict, and nothing of it is written.

use saga_core::Failure;
use saga_inventory::table::{Catalogue, Closing, Shelf};
use saga_kit::Store;

use super::{Shop, line, receipt, saga};

async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
    shop.stock("cup", 10).await;
    for how in [Closing::Released, Closing::Committed] {
        let ours = saga();
        shop.reserve(ours, &[("cup", 2)]).await.expect("it is there");
        shop.close(ours, how).await.expect("it is held");
        let before = shop.product("cup").await;
        // As if it had not seen that nothing is open.
        let mut tx = shop.store.begin().await.expect("a transaction");
        tx.lock(&["cup".to_owned()]).await.expect("it exists");
        let again = tx.settle(&[&before], &[(ours, line("cup", 2))], how).await;
        assert!(matches!(again, Err(Failure::Conflict(_))), "{again:?}");
        drop(tx);
        assert_eq!(shop.product("cup").await, before);
    }
    let before = shop.product("cup").await;
    // As if nobody had looked at the receipt's key.
    let known = receipt("first cup", "cup", 10);
    let product = known.take_in(Some(before.clone())).expect("it can be counted");
    let mut tx = shop.store.begin().await.expect("a transaction");
    let again = tx.receive(&product, &known).await;
    assert!(matches!(again, Err(Failure::Conflict(_))), "{again:?}");
    drop(tx);
    assert_eq!(shop.product("cup").await, before);
    assert_eq!(shop.probe.number("SELECT count(*) FROM movements").await, 5);
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
