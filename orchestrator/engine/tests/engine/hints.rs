//! Hints say that a saga has changed. Every service may send them, so they may be forged.

use std::{sync::atomic::Ordering, time::Duration};

use saga_core::Hosted;
use saga_engine::Engine;
use saga_messaging::Changed;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::world::{Silence, Store, saga};

#[tokio::test(start_paused = true)]
async fn a_forged_hint_costs_one_read_of_the_store_until_the_next_tick() {
    const SECONDS: usize = 10;
    let (store, silence) = (Store { version: 3, ..Store::default() }, Silence::new());
    let (reads, hints) = (store.reads.clone(), silence.hints.clone());
    let (engine, handle) = Engine::new(store, silence, Hosted::default());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(engine.run(shutdown.clone()));
    let id = saga(1);
    let mut watched = handle.watches.watch(id);
    for _ in 0..SECONDS * 100 {
        sleep(Duration::from_millis(10)).await;
        let _ = hints.send(vec![Changed { saga: id, version: u64::MAX }]);
    }
    let seen = reads.load(Ordering::Relaxed);
    assert!(seen <= 2 * (SECONDS + 1), "{seen} reads in {SECONDS} seconds");
    assert!(seen >= SECONDS, "{seen} reads: waiters are told every second, whatever is forged");
    assert_eq!(watched.changed().await.version, 3);
    shutdown.cancel();
    let _ = running.await;
}

/// More hints than the engine keeps up with are lost. The next tick makes up for them.
#[tokio::test(start_paused = true)]
async fn hints_that_were_lost_cost_no_read_each() {
    let (store, silence) = (Store { version: 3, ..Store::default() }, Silence::new());
    let (reads, hints) = (store.reads.clone(), silence.hints.clone());
    let (engine, handle) = Engine::new(store, silence, Hosted::default());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(engine.run(shutdown.clone()));
    let watched = handle.watches.watch(saga(1));
    sleep(Duration::from_millis(10)).await;
    for _ in 0..100 {
        for number in 0..100 {
            let _ = hints.send(vec![Changed { saga: saga(2 + number), version: 1 }]);
        }
        sleep(Duration::from_millis(1)).await;
    }
    let seen = reads.load(Ordering::Relaxed);
    assert!(seen <= 2, "{seen} reads within {:?}", Duration::from_millis(110));
    drop(watched);
    shutdown.cancel();
    let _ = running.await;
}
