//! Each turn decides on what the one before it has written: no update is lost.

use saga_core::{Instance, Timestamp};
use serde_json::value::RawValue;

use super::{Beneath, Sagas, Store, moved, saga};

const CLIENTS: u64 = 8;
const ROUNDS: u64 = 15;

pub(super) async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let counted = Instance { data: number(0), ..saga() };
    let (other, id) = (saga(), counted.id);
    sagas.admit(&[counted, other.clone()]).await;
    // In both orders: those who lock in one order never wait for each other.
    let orders = [[id, other.id], [other.id, id]];
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (store, ids) = (sagas.store.clone(), orders[client as usize % 2]);
            tokio::spawn(async move {
                for _ in 0..ROUNDS {
                    let bump = |_: Timestamp, mut found: Vec<Instance>| {
                        for saga in found.iter_mut().filter(|saga| saga.id == id) {
                            let count: u64 = saga.data.get().parse().expect("a number");
                            saga.data = number(count + 1);
                        }
                        (found.into_iter().map(moved).collect(), ())
                    };
                    // Whoever has waited for the row decides on what is there now.
                    store.turn(&ids, bump).await.expect("no conflict");
                }
            })
        })
        .collect();
    for client in clients {
        client.await.expect("no panic");
    }
    let turns = CLIENTS * ROUNDS;
    for id in [id, other.id] {
        assert_eq!(sagas.version(id).await, turns + 1);
        assert_eq!(sagas.history(id).await.len() as u64, turns + 1);
    }
    let counted = sagas.find(id).await.expect("it exists");
    assert_eq!(counted.data.get(), turns.to_string());
}

fn number(number: u64) -> Box<RawValue> {
    RawValue::from_string(number.to_string()).expect("a number is JSON")
}

super::over_each_adapter!();
