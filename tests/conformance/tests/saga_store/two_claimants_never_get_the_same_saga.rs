//! Many claimants at once: each due saga goes to exactly one of them.

use saga_core::{Failure, Instance, SagaId, Timestamp};

use super::{Beneath, FUTURE, HOSTED, PAST, Sagas, Store, due_at, moved};

const DUE: usize = 300;
const CLAIMANTS: usize = 8;

pub(super) async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let due: Vec<Instance> = (0..DUE).map(|_| due_at(PAST)).collect();
    sagas.admit(&due).await;
    let claimants: Vec<_> = (0..CLAIMANTS)
        .map(|_| {
            let store = sagas.store.clone();
            tokio::spawn(async move {
                let claim = |_: Timestamp, found: Vec<Instance>| {
                    let ids: Vec<SagaId> = found.iter().map(|saga| saga.id).collect();
                    let done = |saga| moved(Instance { wake_at: Some(FUTURE), ..saga });
                    (found.into_iter().map(done).collect(), ids)
                };
                let mut mine = Vec::new();
                // Others may have locked what is left: come again, a few times.
                let mut in_vain = 0;
                while in_vain < 20 {
                    match store.claim(&HOSTED, 7, claim).await {
                        Ok(ids) if ids.is_empty() => {
                            in_vain += 1;
                            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                        }
                        Ok(ids) => mine.extend(ids),
                        Err(Failure::Conflict(_)) => {}
                        Err(failure) => panic!("{failure}"),
                    }
                }
                mine
            })
        })
        .collect();
    let mut claimed = Vec::new();
    for claimant in claimants {
        claimed.extend(claimant.await.expect("no panic"));
    }
    claimed.sort();
    let mut expected: Vec<SagaId> = due.iter().map(|saga| saga.id).collect();
    expected.sort();
    assert_eq!(claimed, expected);
    for id in expected {
        assert_eq!(sagas.version(id).await, 2);
    }
}

super::over_each_adapter!();
