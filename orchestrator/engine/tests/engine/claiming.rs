//! Claims of due sagas.

use std::time::Duration;

use saga_core::Hosted;
use saga_engine::Engine;
use tokio_util::sync::CancellationToken;

use crate::world::{Silence, Store};

#[tokio::test(start_paused = true)]
async fn claims_that_take_too_long_are_halved_until_they_do_not() {
    let store = Store { most_claimed: Some(100), ..Store::default() };
    let (engine, _handle) = Engine::new(store.clone(), Silence::new(), Hosted::default());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(engine.run(shutdown.clone()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    shutdown.cancel();
    running.await.expect("no panic");
    let claims = store.claims.lock().expect("whole").clone();
    let first = claims.iter().position(|limit| *limit <= 100).expect("one of them was not halved");
    assert!(first <= 4, "{claims:?}");
    // A larger batch is tried again, so that one slow moment does not last.
    let largest = claims[first..].iter().max().expect("several claims");
    assert!((101..=200).contains(largest), "{claims:?}");
}
