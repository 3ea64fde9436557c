//! New, repeated, used for something else: one answer a key, several in a batch,
//! the same one twice in a batch.

use saga_core::Timestamp;
use saga_engine::{Admission, IdempotencyKey};

use super::{Beneath, Sagas, Store, begun, key, saga};

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let all: Vec<_> = (0..6).map(|_| saga()).collect();
    // One decision a batch: what it writes is found by the key's own saga.
    let decide = |keys: &[IdempotencyKey], new: &[usize]| {
        let saga = |index: &usize| all.iter().find(|saga| saga.id == keys[*index].saga);
        let writes = new.iter().filter_map(saga).cloned().map(begun).collect();
        (writes, new.to_vec())
    };
    let other = |key| IdempotencyKey { payload_hash: vec![], ..key };
    let first = [
        key("b", all[0].id),
        key("a", all[1].id),
        // The same twice: with the same payload, and with another one.
        key("b", all[2].id),
        other(key("a", all[3].id)),
        key("c", all[4].id),
    ];
    let bound = sagas.store.admit(&first, |_: Timestamp, new: &[usize]| decide(&first, new)).await;
    let repeated = |index: usize| Admission::Repeated(all[index].id);
    let (new, conflict) = (Admission::New, Admission::Conflict);
    assert_eq!(bound, Ok((vec![new, new, repeated(0), conflict, new], Some(vec![0, 1, 4]))));

    let again = [
        other(key("c", all[0].id)),
        key("a", all[2].id),
        key("b", all[3].id),
        key("c", all[4].id),
        key("d", all[5].id),
    ];
    let decided =
        sagas.store.admit(&again, |_: Timestamp, new: &[usize]| decide(&again, new)).await;
    let expected = vec![conflict, repeated(1), repeated(0), repeated(4), new];
    assert_eq!(decided, Ok((expected, Some(vec![4]))));

    // Looking binds nothing, and says what binding would.
    let unbound = key("e", all[5].id);
    let looked = [other(key("a", all[0].id)), key("c", all[3].id), unbound];
    for _ in 0..2 {
        let known = sagas.store.known(&looked).await;
        assert_eq!(known, Ok(vec![Some(conflict), Some(repeated(4)), None]));
    }

    // Nothing new: nothing is decided.
    let nothing = |_: Timestamp, new: &[usize]| (vec![], new.to_vec());
    let known = sagas.store.admit(&again[1..3], nothing).await;
    assert_eq!(known, Ok((vec![repeated(1), repeated(0)], None)));
    assert_eq!(sagas.store.admit(&[], nothing).await, Ok((vec![], None)));
    for (index, exists) in [true, true, false, false, true, true].into_iter().enumerate() {
        assert_eq!(sagas.find(all[index].id).await.is_some(), exists, "saga {index}");
    }
}

super::over_each_adapter!();
