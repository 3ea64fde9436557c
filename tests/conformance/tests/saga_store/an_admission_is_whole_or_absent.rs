//! A saga that cannot be written leaves no key bound, and no other saga.

use saga_core::{Failure, Timestamp};
use saga_engine::Admission;

use super::{Beneath, Sagas, Store, begun, key, saga};

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let (first, second) = (saga(), saga());
    let keys = [key("one", first.id), key("two", second.id)];
    let twice = |_: Timestamp, _: &[usize]| {
        (vec![begun(first.clone()), begun(second.clone()), begun(first.clone())], ())
    };
    let refused = sagas.store.admit(&keys, twice).await;
    assert!(matches!(refused, Err(Failure::Conflict(_))), "{refused:?}");
    assert!(sagas.find(first.id).await.is_none());
    assert!(sagas.history(second.id).await.is_empty());
    let once = |_: Timestamp, _: &[usize]| (vec![begun(first.clone()), begun(second.clone())], ());
    let (admissions, _) = sagas.store.admit(&keys, once).await.expect("the keys are free");
    assert_eq!(admissions, [Admission::New, Admission::New]);
    assert_eq!(sagas.history(second.id).await.len(), 1);
}

super::over_each_adapter!();
