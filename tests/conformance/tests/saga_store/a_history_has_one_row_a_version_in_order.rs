//! A history is read in the order of its versions, after any of them, and no
//! version is told twice.

use saga_core::{Failure, Instance, Timestamp};
use saga_engine::Write;

use super::{Beneath, Sagas, Store, entry, move_on, moved, saga};

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let ids = sagas.some(2).await;
    let id = ids[0];
    for _ in 0..10 {
        sagas.store.turn(&ids, move_on).await.expect("committed");
    }
    // Two transitions in one turn, as when two replies come in one batch.
    let twice = |_: Timestamp, found: Vec<Instance>| {
        let twice = |saga: Instance| {
            let first = moved(saga);
            let mut second = moved(first.saga);
            second.history.splice(0..0, first.history);
            Write { before: first.before, ..second }
        };
        (found.into_iter().map(twice).collect(), ())
    };
    sagas.store.turn(&[id], twice).await.expect("committed");
    let versions = async |after| -> Vec<u64> {
        let history = sagas.store.history(id, after).await.expect("a read");
        history.iter().map(|entry| entry.version).collect()
    };
    assert_eq!(versions(0).await, (1..=13).collect::<Vec<_>>());
    assert_eq!(versions(9).await, [10, 11, 12, 13]);
    assert_eq!(versions(13).await, [0; 0]);
    assert_eq!(versions(u64::MAX).await, [0; 0]);

    let told_again = |_: Timestamp, found: Vec<Instance>| {
        let again = |saga: Instance| {
            let told = saga_core::Happening::Reminded;
            let history = vec![entry(&Instance { version: 5, ..saga.clone() }, told)];
            Write { history, ..moved(saga) }
        };
        (found.into_iter().map(again).collect(), ())
    };
    let refused = sagas.store.turn(&[id], told_again).await;
    assert!(matches!(refused, Err(Failure::Conflict(_))), "{refused:?}");
    assert_eq!(sagas.version(id).await, 13);
    assert_eq!(versions(0).await.len(), 13);
    assert!(sagas.history(saga().id).await.is_empty());
}

super::over_each_adapter!();
