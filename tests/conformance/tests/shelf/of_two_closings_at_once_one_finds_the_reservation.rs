//! A sale and a release of one reservation contend for it: one gets it, the other
//! finds nothing.

use saga_core::Failure;
use saga_inventory::table::{Catalogue, Closing, Shelf};
use saga_kit::Store;

use super::{Shop, saga};

/// Whether there was something to close.
type Closed = Result<Result<bool, Failure>, tokio::task::JoinError>;

pub(super) async fn property<S: Store<Tx: Shelf>, C: Catalogue>(shop: &Shop<S, C>) {
    shop.stock("cup", 100).await;
    shop.stock("teapot", 100).await;
    for _ in 0..25 {
        let ours = saga();
        shop.reserve(ours, &[("cup", 1), ("teapot", 2)]).await.expect("it is there");
        let closing = |how| {
            let store = shop.store.clone();
            tokio::spawn(async move { super::close(&store, ours, how).await })
        };
        let (sale, release) = (closing(Closing::Committed), closing(Closing::Released));
        let (sale, release) = tokio::join!(sale, release);
        let found = |closed: Closed| usize::from(closed.expect("no panic").expect("no conflict"));
        assert_eq!(found(sale) + found(release), 1);
    }
    let open = "SELECT count(*) FROM reservations WHERE state = 'open'";
    assert_eq!(shop.probe.number(open).await, 0);
    let apart = "SELECT count(*) FROM products WHERE reserved <> 0 OR available + sold <> 100";
    assert_eq!(shop.probe.number(apart).await, 0);
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
