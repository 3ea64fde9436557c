//! Turns: whole or absent, one after the other, each at one instant.

use std::{
    sync::atomic::AtomicU64,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use saga_core::{Cause, Failure, Instance, Phase, SagaId, Timestamp};
use saga_engine::Write;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    Beneath, HOSTED, Sagas, Store, begun, due_at, entry, future, key, look, move_on, moved, next,
    saga, stuck,
};

holds_on! { Sagas::{postgres_remembering, postgres, sqlite, in_memory}:
    a_turn_is_whole_or_absent,
    concurrent_turns_on_one_saga_come_one_after_the_other,
    a_dropped_call_leaves_nothing_behind,
    a_saga_that_does_not_exist_is_left_out,
    the_clock_is_one_instant_a_turn_and_goes_forward,
    a_history_has_one_row_a_version_in_order,
    versions_say_who_has_ended,
}

/// If one of several writes rests on an older version, none of them is written, and no history.
async fn a_turn_is_whole_or_absent(sagas: Sagas<impl Store, impl Beneath>) {
    let ids = sagas.some(5).await;
    for stale in 0..ids.len() {
        let decide = |_: Timestamp, found: Vec<Instance>| {
            let mut writes: Vec<Write> = found.into_iter().map(moved).collect();
            writes[stale].before += 7;
            (writes, ())
        };
        let refused = sagas.store.turn(&ids, decide).await;
        assert!(matches!(refused, Err(Failure::Conflict(_))), "{refused:?}");
    }
    for id in &ids {
        assert_eq!(sagas.version(*id).await, 1);
        assert_eq!(sagas.history(*id).await.len(), 1);
    }
    let moved = sagas.store.turn(&ids, super::move_on).await.expect("nothing is locked");
    assert_eq!(moved.len(), ids.len());
    for id in &ids {
        assert_eq!(sagas.version(*id).await, 2);
        assert_eq!(sagas.history(*id).await.len(), 2);
    }
}

/// Each turn decides on what the turn before it has written, so no update is lost.
pub(super) async fn concurrent_turns_on_one_saga_come_one_after_the_other(
    sagas: Sagas<impl Store, impl Beneath>,
) {
    const CLIENTS: u64 = 8;
    const ROUNDS: u64 = 15;
    let counted = Instance { data: number(0), ..saga() };
    let (other, id) = (saga(), counted.id);
    sagas.admit(&[counted, other.clone()]).await;
    // Clients name the sagas in both orders. The store locks them in one, so nothing deadlocks.
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
                    // A turn that has waited for the row decides on its newest state.
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

/// A turn whose future is dropped at any moment is whole or absent, keeps no lock, and does not
/// make later turns fail.
async fn a_dropped_call_leaves_nothing_behind(sagas: Sagas<impl Store, impl Beneath>) {
    const ROUNDS: usize = 150;
    const AT_ONCE: usize = 6;
    // The latest moment at which a turn is dropped, in microseconds after its beginning.
    const MOMENTS: u64 = 3_000;
    let ids = sagas.some(4).await;
    let seed = AtomicU64::new(7);
    for _ in 0..ROUNDS {
        // Several clients make turns at once, so that some are dropped while they wait for
        // another. Each repeats its turn, so that there is always one to drop.
        let turns = [(); AT_ONCE].map(|()| {
            let (store, ids) = (sagas.store.clone(), ids.clone());
            tokio::spawn(async move {
                loop {
                    // A turn on a dropped one's connection may fail once, and is tried again.
                    if let Err(Failure::Permanent(why)) = store.turn(&ids, move_on).await {
                        panic!("{why}");
                    }
                }
            })
        });
        tokio::time::sleep(Duration::from_micros(next(&seed) % MOMENTS)).await;
        turns.iter().for_each(tokio::task::JoinHandle::abort);
        for turn in turns {
            assert!(turn.await.expect_err("endless").is_cancelled(), "a turn panicked");
        }
    }
    // A statement that was under way when its turn was dropped commits a little later.
    let version = loop {
        let before = sagas.version(ids[0]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let locked = sagas.store.turn(&ids, |_, _| (Vec::new(), ())).await;
        locked.expect("the rows are free in the end");
        if sagas.version(ids[0]).await == before {
            break before;
        }
    };
    // Each turn was whole or absent, so every version has its row of history.
    for id in &ids {
        assert_eq!(sagas.version(*id).await, version);
        assert_eq!(sagas.history(*id).await.len() as u64, version);
    }
    // Later turns commit, whichever connection they get.
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

/// A turn decides on the ids that exist, each once and in order.
async fn a_saga_that_does_not_exist_is_left_out(sagas: Sagas<impl Store, impl Beneath>) {
    let mut ids = sagas.some(20).await;
    ids.sort();
    let mut asked = ids.clone();
    asked.reverse();
    asked.insert(3, SagaId(Uuid::now_v7()));
    asked.push(SagaId(Uuid::nil()));
    asked.push(ids[4]);
    assert_eq!(sagas.store.turn(&asked, look).await, Ok(ids.clone()));

    let mut found: Vec<SagaId> =
        sagas.store.find(&asked).await.expect("a read").iter().map(|saga| saga.id).collect();
    found.sort();
    assert_eq!(found, ids);
    let mut versions = sagas.store.versions(&asked).await.expect("a read");
    versions.sort();
    let expected: Vec<(SagaId, u64, bool)> = ids.iter().map(|id| (*id, 1, false)).collect();
    assert_eq!(versions, expected);

    let nobody = [SagaId(Uuid::now_v7())];
    assert_eq!(sagas.store.turn(&nobody, look).await, Ok(vec![]));
    assert_eq!(sagas.store.turn(&[], look).await, Ok(vec![]));
    assert!(sagas.store.find(&nobody).await.expect("a read").is_empty());
    assert!(sagas.store.versions(&[]).await.expect("a read").is_empty());
    assert!(sagas.history(nobody[0]).await.is_empty());
}

/// A store's clock is near the real time, stands still within a turn, and advances between two
/// turns, even if a turn finds no saga.
async fn the_clock_is_one_instant_a_turn_and_goes_forward(sagas: Sagas<impl Store, impl Beneath>) {
    // The store's clock and ours agree, because the tests' servers run on this machine.
    const NEAR: i64 = 60_000_000;
    let ids = sagas.some(3).await;
    let mut last = Timestamp(0);
    let mut later = |now: Timestamp, what: &str| {
        let world = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
        let world = i64::try_from(world).expect("for a long time");
        assert!((world - now.0).abs() < NEAR, "{what}: {now:?} is not now, {world}");
        assert!(now > last, "{what}: {now:?} is not after {last:?}");
        last = now;
        std::thread::sleep(Duration::from_millis(2));
    };
    let clock = |now: Timestamp, _: Vec<Instance>| (vec![], now);
    for _ in 0..2 {
        later(sagas.store.turn(&ids, clock).await.expect("a turn"), "a turn");
        later(sagas.store.turn(&[], clock).await.expect("a turn"), "a turn on nothing");
        let nobody = [saga().id];
        later(sagas.store.turn(&nobody, clock).await.expect("a turn"), "on nobody");
        later(sagas.store.claim(&HOSTED, 9, clock).await.expect("a claim"), "an empty claim");
        let new = saga();
        let keys = [key(&new.id.to_string(), new.id)];
        let decide = |now: Timestamp, _: &[usize]| (vec![begun(new.clone())], now);
        let (_, now) = sagas.store.admit(&keys, decide).await.expect("admitted");
        later(now.expect("it is new"), "an admission");
    }
    // A saga that falls due at the very instant of a claim is due.
    let sleeper = due_at(future());
    sagas.admit(std::slice::from_ref(&sleeper)).await;
    let wake_now = |now: Timestamp, found: Vec<Instance>| {
        let wake = |saga: Instance| super::moved(Instance { wake_at: Some(now), ..saga });
        (found.into_iter().map(wake).collect(), now)
    };
    let wakes = sagas.store.turn(&[sleeper.id], wake_now).await.expect("a turn");
    let woken = |now: Timestamp, found: Vec<Instance>| {
        (vec![], (now, found.iter().map(|saga| saga.wake_at).collect::<Vec<_>>()))
    };
    let (now, found) = sagas.store.claim(&HOSTED, 9, woken).await.expect("a claim");
    assert_eq!(found, [Some(wakes)]);
    assert!(now >= wakes);
}

/// A history can be read after any version, in the order of the versions, each version once.
async fn a_history_has_one_row_a_version_in_order(sagas: Sagas<impl Store, impl Beneath>) {
    let ids = sagas.some(2).await;
    let id = ids[0];
    for _ in 0..10 {
        sagas.store.turn(&ids, move_on).await.expect("committed");
    }
    // Two transitions in one turn, as when one batch brings two replies.
    let twice = |_: Timestamp, found: Vec<Instance>| {
        let twice = |saga: Instance| {
            let first = moved(saga);
            let mut second = moved(first.saga);
            second.history.splice(0..0, first.history);
            Write { before: first.before, ..second }
        };
        (found.into_iter().map(twice).collect(), ())
    };
    sagas.store.turn(&[id], twice).await.expect("committed");
    let versions = async |after| -> Vec<u64> {
        let history = sagas.store.history(id, after).await.expect("a read");
        history.iter().map(|entry| entry.version).collect()
    };
    assert_eq!(versions(0).await, (1..=13).collect::<Vec<_>>());
    assert_eq!(versions(9).await, [10, 11, 12, 13]);
    assert_eq!(versions(13).await, [0; 0]);
    assert_eq!(versions(u64::MAX).await, [0; 0]);

    let told_again = |_: Timestamp, found: Vec<Instance>| {
        let again = |saga: Instance| {
            let told = saga_core::Happening::Reminded;
            let history = vec![entry(&Instance { version: 5, ..saga.clone() }, told)];
            Write { history, ..moved(saga) }
        };
        (found.into_iter().map(again).collect(), ())
    };
    let refused = sagas.store.turn(&[id], told_again).await;
    assert!(matches!(refused, Err(Failure::Conflict(_))), "{refused:?}");
    assert_eq!(sagas.version(id).await, 13);
    assert_eq!(versions(0).await.len(), 13);
    assert!(sagas.history(saga().id).await.is_empty());
}

/// Waiters read a saga's version, and whether it is the saga's last one.
async fn versions_say_who_has_ended(sagas: Sagas<impl Store, impl Beneath>) {
    let stuck = stuck();
    let phases = [
        (Phase::Running, false),
        (Phase::Compensating(Cause::Deadline), false),
        (Phase::Completed, true),
        (Phase::Compensated(Cause::Deadline), true),
        (stuck, false),
    ];
    let mut all = Vec::new();
    let mut expected = Vec::new();
    for ((phase, ended), version) in phases.into_iter().zip(7..) {
        let saga = Instance { phase, version, ..saga() };
        expected.push((saga.id, version, ended));
        all.push(saga);
    }
    sagas.admit(&all).await;
    let ids: Vec<_> = all.iter().map(|saga| saga.id).collect();
    let mut versions = sagas.store.versions(&ids).await.expect("a read");
    versions.sort();
    expected.sort();
    assert_eq!(versions, expected);
}
