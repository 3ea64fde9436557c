//! The order of claims is that of `wake_at`, up to the limit.

use saga_core::{Instance, Timestamp};
use saga_engine::Write;

use super::{Beneath, FUTURE, HOSTED, PAST, Sagas, Store, due_at};

pub(super) async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    // Neither the order of the ids nor its reverse; one microsecond apart.
    let late = [3, 0, 4, 1, 2].map(|late| due_at(Timestamp(PAST.0 + late)));
    sagas.admit(&late).await;
    let claim = |_: Timestamp, found: Vec<Instance>| {
        let wakes: Vec<i64> =
            found.iter().map(|saga| saga.wake_at.expect("it is due").0 - PAST.0).collect();
        let put_off = |saga: Instance| Write {
            before: saga.version,
            saga: Instance { wake_at: Some(FUTURE), ..saga },
            history: vec![],
        };
        (found.into_iter().map(put_off).collect(), wakes)
    };
    assert_eq!(sagas.store.claim(&HOSTED, 2, claim).await, Ok(vec![0, 1]));
    assert_eq!(sagas.store.claim(&HOSTED, 0, claim).await, Ok(vec![]));
    assert_eq!(sagas.store.claim(&HOSTED, usize::MAX, claim).await, Ok(vec![2, 3, 4]));
    assert_eq!(sagas.store.claim(&HOSTED, 5, claim).await, Ok(vec![]));
    // Only `wake_at` was written, so the version is what it was.
    assert_eq!(sagas.version(late[0].id).await, 1);
}

super::over_each_adapter!();
