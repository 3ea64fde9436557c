//! Pruning deletes ended sagas of a range, each with its history and its keys, and
//! nothing else; a key that is gone means a new saga.

use saga_core::{Instance, Phase, SagaId, Timestamp, Watermark};
use saga_engine::{Admission, Pruned, Range};

use super::{Beneath, DAY, Sagas, Store, begun, key, made, saga};

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
    let now = sagas.now().await;
    let at = |days: i64| Instance { id: made(now, days), ..saga() };
    let ended = |days: i64| Instance { phase: Phase::Completed, wake_at: None, ..at(days) };
    // Those admitted already ended have their end set by a turn.
    let old: Vec<Instance> = (10..15).rev().map(at).collect();
    sagas.admit(&old).await;
    sagas.admit(&[at(8), at(2)]).await;
    let ids: Vec<SagaId> = old.iter().map(|saga| saga.id).collect();
    let end = |_: Timestamp, found: Vec<Instance>| {
        (found.into_iter().map(super::ended).collect::<Vec<_>>(), ())
    };
    sagas.store.turn(&ids, end).await.expect("they end");
    sagas.admit(&[ended(1)]).await;
    let before = sagas.find(ids[0]).await;
    assert!(before.is_some());

    // Nothing may go before the watermark says so.
    let below = |days: i64| Range {
        limit: 2,
        ..Range::below(Watermark::at(Timestamp(now.0 - days * DAY)))
    };
    assert_eq!(sagas.store.prune(&below(9)).await, Ok(Pruned::default()));
    let standing = sagas.store.advance(86_400_000).await.expect("raised");
    assert_eq!(standing.oldest, Some(made(now, 8)), "it has not ended");
    assert!(standing.watermark.covers(ids[4]) && !standing.watermark.covers(made(now, 8)));

    // What is counted is what is deleted, in batches of two, to where it was told.
    for dry in [true, false] {
        let mut range = Range { dry, ..below(11) };
        let mut batches = Vec::new();
        loop {
            let pruned = sagas.store.prune(&range).await.expect("pruned");
            batches.push((pruned.sagas, pruned.history, pruned.keys));
            match pruned.next {
                Some(next) => range.from = next,
                None => break,
            }
        }
        assert_eq!(batches, [(2, 4, 2), (1, 2, 1)], "dry: {dry}");
    }
    for (place, id) in ids.iter().enumerate() {
        assert_eq!(sagas.find(*id).await.is_some(), place >= 3, "{place}");
        assert_eq!(sagas.history(*id).await.is_empty(), place < 3, "{place}");
    }
    // Unfinished, or above: still there.
    assert!(sagas.find(made(now, 8)).await.is_some() && sagas.find(made(now, 1)).await.is_some());

    // The pruned one's key is free, the other ones still answer.
    let again = Instance { id: made(now, 0), ..saga() };
    let keys = [key(&ids[0].to_string(), again.id), key(&ids[3].to_string(), made(now, -1))];
    let decide = |_: Timestamp, new: &[usize]| {
        assert!(new.contains(&0), "{new:?}");
        (vec![begun(again.clone())], ())
    };
    let (admissions, _) = sagas.store.admit(&keys, decide).await.expect("admitted");
    assert_eq!(admissions, [Admission::New, Admission::Repeated(ids[3])]);

    // All that is left of what has ended below it.
    let rest = Range { limit: 100, ..Range::below(standing.watermark) };
    let rest = sagas.store.prune(&rest).await.expect("pruned");
    assert_eq!((rest.sagas, rest.next), (2, None));
}

super::over_each_adapter!();
