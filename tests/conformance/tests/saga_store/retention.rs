//! The watermark and the pruning of sagas below it.

use saga_core::{Cause, Instance, Phase, SagaId, Timestamp, Watermark};
use saga_engine::{Admission, Pruned, Range};

use super::{Beneath, DAY, Sagas, Store, begun, key, made, saga, stuck};

holds_on! { Sagas::{postgres_remembering, postgres, sqlite, in_memory}:
    an_unfinished_saga_holds_the_watermark_back,
    what_has_ended_below_the_watermark_is_pruned_with_its_history_and_keys,
    two_pruners_delete_each_saga_once,
}

/// A saga that has not ended (running, stuck or paused) holds the watermark back, and an ended one
/// does not. The watermark never goes back.
async fn an_unfinished_saga_holds_the_watermark_back(sagas: Sagas<impl Store, impl Beneath>) {
    const WEEK_MILLIS: u64 = 7 * 86_400_000;
    assert_eq!(sagas.store.watermark().await, Ok(saga_core::Watermark::NONE));
    let now = sagas.now().await;
    let stuck = stuck();
    let at = |days: i64, phase: Phase| Instance { id: made(now, days), phase, ..saga() };
    let holding = [
        // A paused saga is not due, but has not ended either.
        Instance { wake_at: None, ..at(50, Phase::Running) },
        at(40, stuck),
        at(30, Phase::Compensating(Cause::Deadline)),
        at(20, Phase::Running),
    ];
    sagas.admit(&holding).await;
    sagas.admit(&[at(60, Phase::Running)]).await;
    end(&sagas, made(now, 60)).await;

    let mut last = saga_core::Watermark::NONE;
    for saga in &holding {
        let standing = sagas.store.advance(WEEK_MILLIS).await.expect("raised");
        assert_eq!(standing.oldest, Some(saga.id));
        let expected = saga.id.made_at().0 - 7 * DAY;
        assert_eq!(standing.watermark.instant(), Timestamp(expected / 1_000 * 1_000));
        assert_eq!(sagas.store.watermark().await, Ok(standing.watermark));
        assert!(standing.watermark > last);
        last = standing.watermark;
        end(&sagas, saga.id).await;
    }
    // Now only the retention holds the watermark back, measured by the store's own clock.
    let standing = sagas.store.advance(WEEK_MILLIS).await.expect("raised");
    assert_eq!(standing.oldest, None);
    let behind = standing.now.0 - standing.watermark.instant().0 - 7 * DAY;
    assert!((0..1_000).contains(&behind), "{behind}");
    // Neither a longer retention nor an older saga that appears later moves it back.
    let again = sagas.store.advance(20 * WEEK_MILLIS).await.expect("it stands");
    assert_eq!(again.watermark, standing.watermark);
    sagas.admit(&[at(90, Phase::Running)]).await;
    let again = sagas.store.advance(WEEK_MILLIS).await.expect("it stands");
    assert_eq!((again.watermark, again.oldest), (standing.watermark, Some(made(now, 90))));
}

/// By a database's clock that is a month ahead of the process's, nothing is final.
pub(super) async fn a_clock_that_is_far_ahead_raises_no_watermark(
    sagas: Sagas<impl Store, impl Beneath>,
) {
    let raised = sagas.store.advance(7 * 86_400_000).await.expect("it stands");
    assert_eq!(raised.watermark, Watermark::NONE, "it is raised");
}

/// Clocks may differ.
pub(super) async fn a_clock_that_is_a_little_ahead_raises_the_watermark(
    sagas: Sagas<impl Store, impl Beneath>,
) {
    let raised = sagas.store.advance(7 * 86_400_000).await.expect("raised");
    let behind = sagas.now().await.0 - raised.watermark.instant().0;
    assert!(behind < 7 * DAY - DAY / 60, "{behind}");
}

async fn end(sagas: &Sagas<impl Store, impl Beneath>, id: SagaId) {
    let end = |_: Timestamp, found: Vec<Instance>| {
        (found.into_iter().map(super::ended).collect::<Vec<_>>(), ())
    };
    sagas.store.turn(&[id], end).await.expect("it ends");
}

/// Pruning deletes the ended sagas of a range, each with its history and its keys, and nothing
/// else. A deleted key can begin a new saga.
async fn what_has_ended_below_the_watermark_is_pruned_with_its_history_and_keys(
    sagas: Sagas<impl Store, impl Beneath>,
) {
    let now = sagas.now().await;
    let at = |days: i64| Instance { id: made(now, days), ..saga() };
    let ended = |days: i64| Instance { phase: Phase::Completed, wake_at: None, ..at(days) };
    // The old sagas are admitted as running, and a turn ends them.
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

    // The watermark has not been raised, so nothing may be deleted yet.
    let below = |days: i64| Range {
        limit: 2,
        ..Range::below(Watermark::at(Timestamp(now.0 - days * DAY)))
    };
    assert_eq!(sagas.store.prune(&below(9)).await, Ok(Pruned::default()));
    let standing = sagas.store.advance(86_400_000).await.expect("raised");
    assert_eq!(standing.oldest, Some(made(now, 8)), "it has not ended");
    assert!(standing.watermark.covers(ids[4]) && !standing.watermark.covers(made(now, 8)));

    // A dry run counts exactly what is deleted, in batches of two, up to the given bound.
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
    // The unfinished saga and the one above the bound still exist.
    assert!(sagas.find(made(now, 8)).await.is_some() && sagas.find(made(now, 1)).await.is_some());

    // The pruned saga's key is free, and the others still answer.
    let again = Instance { id: made(now, 0), ..saga() };
    let keys = [key(&ids[0].to_string(), again.id), key(&ids[3].to_string(), made(now, -1))];
    let decide = |_: Timestamp, new: &[usize]| {
        assert!(new.contains(&0), "{new:?}");
        (vec![begun(again.clone())], ())
    };
    let (admissions, _) = sagas.store.admit(&keys, decide).await.expect("admitted");
    assert_eq!(admissions, [Admission::New, Admission::Repeated(ids[3])]);

    // The rest of the ended sagas below the watermark.
    let rest = Range { limit: 100, ..Range::below(standing.watermark) };
    let rest = sagas.store.prune(&rest).await.expect("pruned");
    assert_eq!((rest.sagas, rest.next), (2, None));
}

/// Pruning needs no leader: each of two pruners skips the sagas that the other has locked, and
/// every saga is deleted exactly once.
async fn two_pruners_delete_each_saga_once(sagas: Sagas<impl Store, impl Beneath>) {
    const SAGAS: i64 = 300;
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
