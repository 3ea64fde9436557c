//! A turn whose future is dropped at any moment is whole or absent, holds no
//! lock, and does not take what comes after it down with it.

use std::{sync::atomic::AtomicU64, time::Duration};

use saga_core::{Failure, SagaId};

use super::{Beneath, Sagas, Store, move_on, next};

const ROUNDS: usize = 150;
const AT_ONCE: usize = 6;
/// Moments at which a turn is dropped, in microseconds after its beginning.
const MOMENTS: u64 = 3_000;

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let ids = sagas.some(4).await;
    let seed = AtomicU64::new(7);
    for _ in 0..ROUNDS {
        // Several, so that some are dropped while they wait for another, and one after the
        // other, so that there is one to drop however fast they are.
        let turns = [(); AT_ONCE].map(|()| {
            let (store, ids) = (sagas.store.clone(), ids.clone());
            tokio::spawn(async move {
                loop {
                    again(&store, &ids).await;
                }
            })
        });
        tokio::time::sleep(Duration::from_micros(next(&seed) % MOMENTS)).await;
        turns.iter().for_each(tokio::task::JoinHandle::abort);
        for turn in turns {
            assert!(turn.await.expect_err("endless").is_cancelled(), "a turn panicked");
        }
    }
    // Each one whole or absent.
    let version = sagas.version(ids[0]).await;
    for id in &ids {
        assert_eq!(sagas.version(*id).await, version);
        assert_eq!(sagas.history(*id).await.len() as u64, version);
    }
    // What comes after is committed, whichever connection it gets.
    let turns: Vec<_> = (0..30)
        .map(|_| {
            let (store, ids) = (sagas.store.clone(), ids.clone());
            tokio::spawn(async move { again(&store, &ids).await })
        })
        .collect();
    for turn in turns {
        turn.await.expect("no panic");
    }
    for id in &ids {
        assert_eq!(sagas.version(*id).await, version + 30);
    }
}

async fn again(store: &impl Store, ids: &[SagaId]) {
    loop {
        match store.turn(ids, move_on).await {
            Ok(_) => return,
            Err(Failure::Conflict(_)) => {}
            Err(failure) => panic!("{failure}"),
        }
    }
}

super::over_each_adapter!();
