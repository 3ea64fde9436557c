//! Two callers, or two methods, may use the same key.

use saga_core::Timestamp;
use saga_engine::{Admission, IdempotencyKey};

use super::{Beneath, Sagas, Store, begun, key, saga};

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let all: Vec<_> = (0..5).map(|_| saga()).collect();
    let keys = [
        key("k", all[0].id),
        IdempotencyKey { caller: "alice".to_owned(), ..key("k", all[1].id) },
        IdempotencyKey { method: "ReturnOrder", ..key("k", all[2].id) },
        // Run together, these two are the same text.
        IdempotencyKey { caller: "a".to_owned(), method: "bc", ..key("d", all[3].id) },
        IdempotencyKey { caller: "ab".to_owned(), method: "c", ..key("d", all[4].id) },
    ];
    let decide = |_: Timestamp, new: &[usize]| {
        (new.iter().map(|index| begun(all[*index].clone())).collect(), ())
    };
    let (bound, _) = sagas.store.admit(&keys, decide).await.expect("admitted");
    assert_eq!(bound, [Admission::New; 5]);
    let (known, _) = sagas.store.admit(&keys, decide).await.expect("admitted");
    let expected: Vec<Admission> = all.iter().map(|saga| Admission::Repeated(saga.id)).collect();
    assert_eq!(known, expected);
}

super::over_each_adapter!();
