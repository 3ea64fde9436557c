//! A store's clock is near the world's, stands still within a turn, and goes
//! forward between two of them, also where a turn finds nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use saga_core::{Instance, Timestamp};

use super::{Beneath, FUTURE, HOSTED, Sagas, Store, begun, due_at, key, saga};

/// The tests' servers run on this machine.
const NEAR: i64 = 60_000_000;

async fn property(sagas: Sagas<impl Store, impl Beneath>) {
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
    // What falls due at the very instant of a claim is due.
    let sleeper = due_at(FUTURE);
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

super::over_each_adapter!();
