//! If one of an engine's loops fails, the engine stops the others too.

use std::time::Duration;

use saga_core::{Failure, Hosted, Instance, Timestamp};
use saga_engine::{Engine, Write};
use saga_messaging::{InProcess, InProcessSettings};
use saga_sqlite::{Clock, Database};
use saga_store::sqlite::{SCHEMA, SagaTable};
use saga_taps::{SagaTap, Tapped};
use tokio_util::sync::CancellationToken;

/// An empty store whose claims panic.
#[derive(Clone)]
struct Broken(SagaTable);

impl SagaTap for Broken {
    type Inner = SagaTable;

    fn inner(&self) -> &SagaTable {
        &self.0
    }

    async fn claim<R: Send>(
        &self,
        _: &[(&'static str, u32)],
        _: usize,
        _: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        panic!("a bug in the store")
    }
}

fn store() -> SagaTable {
    SagaTable::new(Database::in_memory(&SCHEMA, Clock::system()).expect("a database"))
}

fn broker() -> InProcess {
    InProcess::new(InProcessSettings::default())
}

#[tokio::test]
async fn a_loop_that_panics_stops_the_engine_and_says_so() {
    let (engine, _handle) = Engine::new(Tapped(Broken(store())), broker(), Hosted::default());
    let shutdown = CancellationToken::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), engine.run(shutdown.clone())).await;
    assert!(ended.is_ok(), "it went on without its claims");
    assert!(shutdown.is_cancelled());
}

#[tokio::test]
async fn a_sound_engine_runs_until_it_is_told_to_stop_also_without_a_front_door() {
    let (engine, _) = Engine::new(store(), broker(), Hosted::default());
    let shutdown = CancellationToken::new();
    let mut running = tokio::spawn(engine.run(shutdown.clone()));
    let early = tokio::time::timeout(Duration::from_millis(500), &mut running).await;
    assert!(early.is_err(), "it stopped by itself");
    shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), running).await;
    ended.expect("in time").expect("no panic");
}
