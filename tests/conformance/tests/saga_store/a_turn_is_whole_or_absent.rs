//! One write of several that rests on an older version leaves none of them, nor
//! their history.

use saga_core::{Failure, Instance, Timestamp};
use saga_engine::Write;

use super::{Beneath, Sagas, Store, moved};

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let ids = sagas.some(5).await;
    for stale in 0..ids.len() {
        let decide = |_: Timestamp, found: Vec<Instance>| {
            let mut writes: Vec<Write> = found.into_iter().map(moved).collect();
            writes[stale].before += 7;
            (writes, ())
        };
        let refused = sagas.store.turn(&ids, decide).await;
        assert!(matches!(refused, Err(Failure::Conflict(_))), "{refused:?}");
    }
    for id in &ids {
        assert_eq!(sagas.version(*id).await, 1);
        assert_eq!(sagas.history(*id).await.len(), 1);
    }
    let moved = sagas.store.turn(&ids, super::move_on).await.expect("nothing is locked");
    assert_eq!(moved.len(), ids.len());
    for id in &ids {
        assert_eq!(sagas.version(*id).await, 2);
        assert_eq!(sagas.history(*id).await.len(), 2);
    }
}

super::over_each_adapter!();
