//! If one of an engine's loops fails, the engine stops the others too.

use std::time::Duration;

use saga_core::Hosted;
use saga_engine::Engine;
use tokio_util::sync::CancellationToken;

use crate::world::{Silence, Store};

#[tokio::test]
async fn a_loop_that_panics_stops_the_engine_and_says_so() {
    let (engine, _handle) =
        Engine::new(Store { broken: true, ..Store::default() }, Silence::new(), Hosted::default());
    let shutdown = CancellationToken::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), engine.run(shutdown.clone())).await;
    assert!(ended.is_ok(), "it went on without its claims");
    assert!(shutdown.is_cancelled());
}

#[tokio::test]
async fn a_sound_engine_runs_until_it_is_told_to_stop_also_without_a_front_door() {
    let (engine, _) = Engine::new(Store::default(), Silence::new(), Hosted::default());
    let shutdown = CancellationToken::new();
    let mut running = tokio::spawn(engine.run(shutdown.clone()));
    let early = tokio::time::timeout(Duration::from_millis(500), &mut running).await;
    assert!(early.is_err(), "it stopped by itself");
    shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), running).await;
    ended.expect("in time").expect("no panic");
}
