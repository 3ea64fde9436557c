//! Admissions, and the idempotency keys that they bind.

use std::collections::BTreeSet;

use saga_core::{Failure, Timestamp};
use saga_engine::{Admission, IdempotencyKey};

use super::{Beneath, Sagas, Store, begun, key, saga};

holds_on! { Sagas::{postgres_remembering, postgres, sqlite, in_memory}:
    a_key_is_bound_once,
    a_key_is_scoped_to_its_caller_and_method,
    keys_are_compared_byte_by_byte,
    an_admission_is_whole_or_absent,
    of_two_admissions_at_once_one_binds_the_key,
}

/// Each key gets one answer (new, repeated, or used for another payload), also if a batch has
/// several keys or the same key twice.
async fn a_key_is_bound_once(sagas: Sagas<impl Store, impl Beneath>) {
    let all: Vec<_> = (0..6).map(|_| saga()).collect();
    // A batch has one decision, which writes the saga of each new key.
    let decide = |keys: &[IdempotencyKey], new: &[usize]| {
        let saga = |index: &usize| all.iter().find(|saga| saga.id == keys[*index].saga);
        let writes = new.iter().filter_map(saga).cloned().map(begun).collect();
        (writes, new.to_vec())
    };
    let other = |key| IdempotencyKey { payload_hash: vec![], ..key };
    let first = [
        key("b", all[0].id),
        key("a", all[1].id),
        // The same key twice: with the same payload, and with another one.
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

    // `known` binds no key, and gives the answers that `admit` would give.
    let unbound = key("e", all[5].id);
    let looked = [other(key("a", all[0].id)), key("c", all[3].id), unbound];
    for _ in 0..2 {
        let known = sagas.store.known(&looked).await;
        assert_eq!(known, Ok(vec![Some(conflict), Some(repeated(4)), None]));
    }

    // If no key is new, nothing is decided.
    let nothing = |_: Timestamp, new: &[usize]| (vec![], new.to_vec());
    let known = sagas.store.admit(&again[1..3], nothing).await;
    assert_eq!(known, Ok((vec![repeated(1), repeated(0)], None)));
    assert_eq!(sagas.store.admit(&[], nothing).await, Ok((vec![], None)));
    for (index, exists) in [true, true, false, false, true, true].into_iter().enumerate() {
        assert_eq!(sagas.find(all[index].id).await.is_some(), exists, "saga {index}");
    }
}

/// Two callers, or two methods, may use the same key.
async fn a_key_is_scoped_to_its_caller_and_method(sagas: Sagas<impl Store, impl Beneath>) {
    let all: Vec<_> = (0..5).map(|_| saga()).collect();
    let keys = [
        key("k", all[0].id),
        IdempotencyKey { caller: "alice".to_owned(), ..key("k", all[1].id) },
        IdempotencyKey { method: "ReturnOrder", ..key("k", all[2].id) },
        // For these two, caller and method joined together give the same text.
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

/// Keys that differ in case, accents, spaces or normal form are different keys: there is no
/// collation.
async fn keys_are_compared_byte_by_byte(sagas: Sagas<impl Store, impl Beneath>) {
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

/// If one saga cannot be written, no key is bound and no other saga is written.
async fn an_admission_is_whole_or_absent(sagas: Sagas<impl Store, impl Beneath>) {
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

/// If two admissions use one key at once, the second one gets the first one's saga.
pub(super) async fn of_two_admissions_at_once_one_binds_the_key(
    sagas: Sagas<impl Store, impl Beneath>,
) {
    const CLIENTS: usize = 8;
    const KEYS: usize = 10;
    let clients = (0..CLIENTS).map(|client| {
        let store = sagas.store.clone();
        tokio::spawn(async move {
            let all: Vec<_> = (0..KEYS).map(|_| saga()).collect();
            let mut keys: Vec<_> =
                (0..KEYS).map(|number| key(&format!("k{number}"), all[number].id)).collect();
            // Each client has the keys in another order.
            keys.rotate_left(client);
            loop {
                let decide = |_: Timestamp, new: &[usize]| {
                    let write = |index: &usize| {
                        let id = keys[*index].saga;
                        let saga = all.iter().find(|saga| saga.id == id).expect("one of ours");
                        begun(saga.clone())
                    };
                    (new.iter().map(write).collect(), ())
                };
                match store.admit(&keys, decide).await {
                    Ok((admissions, _)) => break keys.into_iter().zip(admissions).collect(),
                    Err(Failure::Conflict(_)) => {}
                    Err(failure) => panic!("{failure}"),
                }
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let mut answers: Vec<Vec<_>> = Vec::new();
    for client in clients {
        answers.push(client.await.expect("no panic"));
    }
    let mut bound = BTreeSet::new();
    for name in (0..KEYS).map(|number| format!("k{number}")) {
        let of_key: Vec<_> = answers.iter().flatten().filter(|(key, _)| key.key == name).collect();
        assert_eq!(of_key.len(), CLIENTS);
        let new: Vec<_> = of_key.iter().filter(|(_, a)| *a == Admission::New).collect();
        let [(first, _)] = new[..] else { panic!("{name} was bound {} times", new.len()) };
        for (key, admission) in of_key {
            let repeated = *admission == Admission::Repeated(first.saga);
            assert!(repeated || key.saga == first.saga, "{name}: {admission:?}");
        }
        assert!(sagas.find(first.saga).await.is_some());
        bound.insert(first.saga);
    }
    assert_eq!(sagas.store.in_flight().await, Ok(bound.len() as u64));
}
