//! Whoever comes second gets the first one's saga, whoever that was.

use std::collections::BTreeSet;

use saga_core::{Failure, Timestamp};
use saga_engine::Admission;

use super::{Beneath, Sagas, Store, begun, key, saga};

const CLIENTS: usize = 8;
const KEYS: usize = 10;

pub(super) async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let clients = (0..CLIENTS).map(|client| {
        let store = sagas.store.clone();
        tokio::spawn(async move {
            let all: Vec<_> = (0..KEYS).map(|_| saga()).collect();
            let mut keys: Vec<_> =
                (0..KEYS).map(|number| key(&format!("k{number}"), all[number].id)).collect();
            // Each client in an order of its own.
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

super::over_each_adapter!();
