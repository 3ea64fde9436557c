//! Claims of due sagas.

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use saga_core::{Failure, Instance, Phase, SagaId, Timestamp, limits};
use saga_engine::Write;

use super::{
    Beneath, Damage, HOSTED, PAST, Sagas, Store, due_at, future, look, move_on, moved, saga,
};

holds_on! { Sagas::{postgres_remembering, postgres, sqlite, in_memory}:
    only_hosted_and_due_sagas_are_claimed,
    a_claim_takes_the_most_overdue_first_and_no_more_than_asked_for,
    two_claimants_never_get_the_same_saga,
    what_a_fast_clock_has_put_to_sleep_is_claimed_after_what_is_due,
}

holds_on! { Sagas::{postgres}:
    what_is_locked_is_skipped_by_a_claim,
}

holds_on! { Sagas::{postgres, sqlite, in_memory}:
    a_row_that_does_not_decode_holds_up_nobody,
    a_row_that_does_not_decode_and_sleeps_too_long_is_put_off,
}

holds_on! { Sagas::{postgres, sqlite}:
    a_row_that_does_not_decode_is_in_no_claim_and_no_list,
}

/// A claim skips sagas that are not due and sagas that its binary does not host.
pub(super) async fn only_hosted_and_due_sagas_are_claimed(sagas: Sagas<impl Store, impl Beneath>) {
    let hosted = due_at(PAST);
    let of = |definition: &str, definition_version| Instance {
        definition: definition.to_owned(),
        definition_version,
        ..due_at(PAST)
    };
    let newer = of("place-order", 2);
    let another = of("return-order", 1);
    sagas
        .admit(&[
            hosted.clone(),
            newer.clone(),
            another.clone(),
            of("Place-Order", 1),
            of("place-order ", 1),
            due_at(future()),
            Instance { wake_at: None, ..saga() },
            Instance { wake_at: None, phase: Phase::Completed, ..saga() },
        ])
        .await;
    assert_eq!(sagas.store.claim(&HOSTED, 100, look).await, Ok(vec![hosted.id]));
    // A claim that writes nothing leaves the saga due.
    assert_eq!(sagas.store.claim(&HOSTED, 100, look).await, Ok(vec![hosted.id]));
    let mut both = sagas
        .store
        .claim(&[("return-order", 1), ("place-order", 2), ("place-order", 3)], 100, look)
        .await
        .expect("a claim");
    both.sort();
    assert_eq!(both, [newer.id, another.id]);
    // Name and version must match as a pair.
    let crossed = [("return-order", 2), ("other", 1)];
    assert_eq!(sagas.store.claim(&crossed, 100, look).await, Ok(vec![]));
    assert_eq!(sagas.store.claim(&[], 100, look).await, Ok(vec![]));
}

/// Claims take sagas in the order of `wake_at`, up to the limit.
pub(super) async fn a_claim_takes_the_most_overdue_first_and_no_more_than_asked_for(
    sagas: Sagas<impl Store, impl Beneath>,
) {
    // The sagas are due one microsecond apart, neither in the order of the ids nor in its reverse.
    let late = [3, 0, 4, 1, 2].map(|late| due_at(Timestamp(PAST.0 + late)));
    sagas.admit(&late).await;
    let claim = |_: Timestamp, found: Vec<Instance>| {
        let wakes: Vec<i64> =
            found.iter().map(|saga| saga.wake_at.expect("it is due").0 - PAST.0).collect();
        let put_off = |saga: Instance| Write {
            before: saga.version,
            saga: Instance { wake_at: Some(future()), ..saga },
            history: vec![],
        };
        (found.into_iter().map(put_off).collect(), wakes)
    };
    assert_eq!(sagas.store.claim(&HOSTED, 2, claim).await, Ok(vec![0, 1]));
    assert_eq!(sagas.store.claim(&HOSTED, 0, claim).await, Ok(vec![]));
    assert_eq!(sagas.store.claim(&HOSTED, usize::MAX, claim).await, Ok(vec![2, 3, 4]));
    assert_eq!(sagas.store.claim(&HOSTED, 5, claim).await, Ok(vec![]));
    // A claim writes only `wake_at`, so the version does not change.
    assert_eq!(sagas.version(late[0].id).await, 1);
}

/// A `wake_at` that is further ahead than any sleep was written by a clock that was fast. Such a saga
/// gets the room that those that are due have left; and once it is written again it sleeps.
pub(super) async fn what_a_fast_clock_has_put_to_sleep_is_claimed_after_what_is_due(
    sagas: Sagas<impl Store, impl Beneath>,
) {
    let now = sagas.now().await;
    let ahead = |millis| due_at(now.plus_millis(millis));
    let sleeps = ahead(limits::LONGEST_SLEEP_MILLIS);
    // Further than the test takes.
    let (hour, day) = (ahead(limits::AHEAD_MILLIS + 3_600_000), ahead(86_400_000));
    let due = due_at(PAST);
    sagas.admit(&[sleeps, hour.clone(), day.clone(), due.clone()]).await;
    assert_eq!(sagas.store.claim(&HOSTED, 1, look).await, Ok(vec![due.id]));
    let mut all = sagas.store.claim(&HOSTED, 100, look).await.expect("a claim");
    all.sort();
    let mut expected = vec![hour.id, day.id, due.id];
    expected.sort();
    assert_eq!(all, expected);
    assert_eq!(sagas.store.claim(&[("return-order", 1)], 100, look).await, Ok(vec![]));
    let put_off = |_: Timestamp, found: Vec<Instance>| {
        let ids: Vec<SagaId> = found.iter().map(|saga| saga.id).collect();
        let put_off = |saga| moved(Instance { wake_at: Some(future()), ..saga });
        (found.into_iter().map(put_off).collect(), ids)
    };
    sagas.store.claim(&HOSTED, 100, put_off).await.expect("a claim");
    assert_eq!(sagas.store.claim(&HOSTED, 100, look).await, Ok(vec![]));
}

/// A row that does not decode is put off wherever its `wake_at` was, so that it is not found again and
/// again.
async fn a_row_that_does_not_decode_and_sleeps_too_long_is_put_off(
    sagas: Sagas<impl Store, impl Beneath>,
) {
    let saga = due_at(sagas.now().await.plus_millis(86_400_000));
    sagas.admit(std::slice::from_ref(&saga)).await;
    sagas.beneath.damage(saga.id, Damage::Format).await;
    assert_eq!(sagas.store.claim(&HOSTED, 100, look).await, Ok(vec![]));
    let ahead = sagas.now().await.plus_millis(limits::AHEAD_MILLIS);
    assert!(sagas.beneath.wake_at(saga.id).await < ahead);
}

/// If many claimants run at once, exactly one gets each due saga.
pub(super) async fn two_claimants_never_get_the_same_saga(sagas: Sagas<impl Store, impl Beneath>) {
    const DUE: usize = 300;
    const CLAIMANTS: usize = 8;
    let due: Vec<Instance> = (0..DUE).map(|_| due_at(PAST)).collect();
    sagas.admit(&due).await;
    let claimants: Vec<_> = (0..CLAIMANTS)
        .map(|_| {
            let store = sagas.store.clone();
            tokio::spawn(async move {
                let claim = |_: Timestamp, found: Vec<Instance>| {
                    let ids: Vec<SagaId> = found.iter().map(|saga| saga.id).collect();
                    let done = |saga| moved(Instance { wake_at: Some(future()), ..saga });
                    (found.into_iter().map(done).collect(), ids)
                };
                let mut mine = Vec::new();
                // Other claimants may have locked the rest for a moment, so it tries a few times.
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

/// A claim does not wait for a saga that a turn has locked. Only Postgres has this property,
/// because SQLite has one writer.
pub(super) async fn what_is_locked_is_skipped_by_a_claim(sagas: Sagas<impl Store, impl Beneath>) {
    let (held, free) = (due_at(PAST), due_at(PAST));
    sagas.admit(&[held.clone(), free.clone()]).await;
    let (inside, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let (store, id) = (sagas.store.clone(), held.id);
    let left = Mutex::new(left);
    let turn = tokio::spawn(async move {
        let decide = |_: Timestamp, found: Vec<Instance>| {
            inside.send(()).expect("somebody waits");
            tokio::task::block_in_place(|| left.lock().expect("ours alone").recv())
                .expect("it is let go");
            (found.into_iter().map(moved).collect(), ())
        };
        store.turn(&[id], decide).await
    });
    tokio::task::block_in_place(|| entered.recv()).expect("the turn holds it");
    let claim = sagas.store.clone();
    let claim = tokio::spawn(async move { claim.claim(&HOSTED, 10, look).await });
    let claimed = tokio::time::timeout(Duration::from_secs(3), claim).await;
    assert_eq!(claimed.expect("it does not wait").expect("no panic"), Ok(vec![free.id]));
    leave.send(()).expect("the turn waits");
    turn.await.expect("no panic").expect("it is committed");
    assert_eq!(sagas.version(held.id).await, 2);
}

/// Damaged rows are postponed, and sound rows beside them go on.
async fn a_row_that_does_not_decode_holds_up_nobody(sagas: Sagas<impl Store, impl Beneath>) {
    let mut all: Vec<_> = (0..5).map(|_| due_at(PAST)).collect();
    all.sort_by_key(|saga| saga.id);
    sagas.admit(&all).await;
    let ids: Vec<_> = all.iter().map(|saga| saga.id).collect();
    let (sound, damaged) = (ids[2], [ids[0], ids[1], ids[3], ids[4]]);
    for (id, damage) in damaged.into_iter().zip(Damage::ALL) {
        sagas.beneath.damage(id, damage).await;
    }
    // A turn decides on the sound saga and leaves the others as they are.
    assert_eq!(sagas.store.turn(&ids, move_on).await, Ok(vec![sound]));
    assert_eq!(sagas.version(sound).await, 2);
    for id in damaged {
        assert_eq!(sagas.history(id).await.len(), 1, "it was written");
        let read = sagas.store.find(&[id]).await;
        assert!(read.is_err(), "made of a damaged row: {read:?}");
    }
    // A damaged row among others does not hide the sound ones.
    let read = sagas.store.find(&ids).await.expect("the sound one");
    assert_eq!(read.iter().map(|saga| saga.id).collect::<Vec<_>>(), [sound]);
    // The turn has postponed the damaged rows, so they do not use up the claim's limit.
    let fresh = due_at(PAST);
    sagas.admit(std::slice::from_ref(&fresh)).await;
    let claimed = sagas.store.claim(&HOSTED, 2, look).await.expect("a claim");
    assert_eq!(claimed.len(), 2, "{claimed:?}");
    assert!(claimed.contains(&sound) && claimed.contains(&fresh.id), "{claimed:?}");
}

/// Claims also postpone damaged rows, and lists leave them out.
async fn a_row_that_does_not_decode_is_in_no_claim_and_no_list(
    sagas: Sagas<impl Store, impl Beneath>,
) {
    let mut all: Vec<_> = (0..3).map(|_| due_at(PAST)).collect();
    all.sort_by_key(|saga| saga.id);
    sagas.admit(&all).await;
    let [oldest, broken, newest] = [all[0].id, all[1].id, all[2].id];
    sagas.beneath.damage(broken, Damage::Progress).await;
    let mut claimed = sagas.store.claim(&HOSTED, 3, look).await.expect("a claim");
    claimed.sort();
    assert_eq!(claimed, [oldest, newest]);
    let mut again = sagas.store.claim(&HOSTED, 2, look).await.expect("a claim");
    again.sort();
    assert_eq!(again, [oldest, newest]);

    let filter = |limit| saga_engine::ListFilter { limit, ..Default::default() };
    for limit in [2, 3] {
        let listed = sagas.store.list(&filter(limit)).await.expect("a list");
        let listed: Vec<_> = listed.iter().map(|saga| saga.id).collect();
        assert_eq!(listed, [newest, oldest], "the broken one shortens no page");
    }
}
