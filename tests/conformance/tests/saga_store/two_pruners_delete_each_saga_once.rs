//! Pruning needs no leader: whoever prunes beside another passes over what that one
//! has in hand, and in the end all is gone, once.

use saga_core::{Instance, SagaId, Timestamp};
use saga_engine::Range;

use super::{Beneath, Sagas, Store, made, saga};

const SAGAS: i64 = 300;

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let now = sagas.now().await;
    let all: Vec<Instance> =
        (100..100 + SAGAS).map(|days| Instance { id: made(now, days), ..saga() }).collect();
    sagas.admit(&all).await;
    let ids: Vec<SagaId> = all.iter().map(|saga| saga.id).collect();
    let end = |_: Timestamp, found: Vec<Instance>| {
        (found.into_iter().map(super::ended).collect::<Vec<_>>(), ())
    };
    sagas.store.turn(&ids, end).await.expect("they end");
    let below = sagas.store.advance(1_000).await.expect("raised").watermark;
    let prune = || {
        let store = sagas.store.clone();
        tokio::spawn(async move {
            let mut range = Range { limit: 7, ..Range::below(below) };
            let mut all = (0, 0, 0);
            loop {
                let pruned = store.prune(&range).await.expect("pruned");
                all = (all.0 + pruned.sagas, all.1 + pruned.history, all.2 + pruned.keys);
                match pruned.next {
                    Some(next) => range.from = next,
                    None => return all,
                }
            }
        })
    };
    let pruners = [prune(), prune(), prune()];
    let mut sum = (0, 0, 0);
    for pruner in pruners {
        let all = pruner.await.expect("no panic");
        sum = (sum.0 + all.0, sum.1 + all.1, sum.2 + all.2);
    }
    let sagas_there = SAGAS.unsigned_abs();
    assert_eq!(sum, (sagas_there, 2 * sagas_there, sagas_there));
    assert!(sagas.store.find(&ids).await.expect("a read").is_empty());
}

super::over_each_adapter!();
