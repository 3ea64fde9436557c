//! No collation: case, accents, spaces and normal forms tell keys apart.

use saga_core::Timestamp;
use saga_engine::Admission;

use super::{Beneath, Sagas, Store, begun, key, saga};

const NAMES: [&str; 13] = [
    "key",
    "Key",
    "KEY",
    "key ",
    " key",
    "kéy",
    "ke\u{301}y",
    "",
    " ",
    "k😀y",
    "k\u{fffd}y",
    "1",
    "01",
];

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let all: Vec<_> = NAMES.iter().map(|_| saga()).collect();
    let keys: Vec<_> = NAMES.iter().zip(&all).map(|(name, saga)| key(name, saga.id)).collect();
    let decide = |_: Timestamp, new: &[usize]| {
        (new.iter().map(|index| begun(all[*index].clone())).collect(), ())
    };
    let (bound, _) = sagas.store.admit(&keys, decide).await.expect("admitted");
    assert_eq!(bound, [Admission::New; NAMES.len()]);
    for (key, saga) in keys.iter().zip(&all) {
        let one = std::slice::from_ref(key);
        let (known, _) = sagas.store.admit(one, decide).await.expect("admitted");
        assert_eq!(known, [Admission::Repeated(saga.id)], "{:?}", key.key);
    }
}

super::over_each_adapter!();
