//! If one of an engine's loops fails, the engine stops the others too.

use std::{sync::Arc, time::Duration};

use saga_core::{Failure, HistoryEntry, Hosted, Instance, SagaId, Timestamp, Watermark};
use saga_engine::{
    Admission, Census, Engine, Handled, Horizon, IdempotencyKey, Inspected, ListFilter,
    NewQuarantined, Pruned, QuarantineFilter, Quarantined, Range, Retention, SagaReads, SagaStore,
    Write,
};
use saga_messaging::{Changed, Consumer, Delivery, Message, PublishError, Queue, Transport};
use tokio::sync::{broadcast, mpsc};
use tokio_util::sync::CancellationToken;

/// An empty store. Its claims panic if it is `broken`.
#[derive(Clone)]
struct Store {
    broken: bool,
}

impl SagaStore for Store {
    async fn admit<R: Send>(
        &self,
        _: &[IdempotencyKey],
        _: impl Fn(Timestamp, &[usize]) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<(Vec<Admission>, Option<R>), Failure> {
        Ok((Vec::new(), None))
    }

    async fn known(&self, keys: &[IdempotencyKey]) -> Result<Vec<Option<Admission>>, Failure> {
        Ok(vec![None; keys.len()])
    }

    async fn turn<R: Send>(
        &self,
        _: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        Ok(decide(Timestamp(0), Vec::new()).1)
    }

    async fn claim<R: Send>(
        &self,
        _: &[(&'static str, u32)],
        _: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        assert!(!self.broken, "a bug in the store");
        Ok(decide(Timestamp(0), Vec::new()).1)
    }

    async fn quarantine(&self, _: &[NewQuarantined]) -> Result<(), Failure> {
        Ok(())
    }

    async fn handle<R: Send>(
        &self,
        _: &str,
        _: Option<SagaId>,
        decide: impl Fn(Inspected) -> (Option<Handled>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        let (now, watermark) = (Timestamp(0), Watermark::NONE);
        Ok(decide(Inspected { now, watermark, message: None, saga: None }).1)
    }
}

impl SagaReads for Store {
    async fn find(&self, _: &[SagaId]) -> Result<Vec<Instance>, Failure> {
        Ok(Vec::new())
    }

    async fn versions(&self, _: &[SagaId]) -> Result<Vec<(SagaId, u64, bool)>, Failure> {
        Ok(Vec::new())
    }

    async fn history(&self, _: SagaId, _: u64) -> Result<Vec<HistoryEntry>, Failure> {
        Ok(Vec::new())
    }

    async fn list(&self, _: &ListFilter) -> Result<Vec<Instance>, Failure> {
        Ok(Vec::new())
    }

    async fn in_flight(&self) -> Result<u64, Failure> {
        Ok(0)
    }

    async fn quarantined(&self, _: &QuarantineFilter) -> Result<Vec<Quarantined>, Failure> {
        Ok(Vec::new())
    }

    async fn census(&self) -> Result<Census, Failure> {
        Ok(Census::default())
    }
}

impl Retention for Store {
    async fn advance(&self, _: u64) -> Result<Horizon, Failure> {
        Ok(Horizon { watermark: Watermark::NONE, now: Timestamp(0), oldest: None })
    }

    async fn watermark(&self) -> Result<Watermark, Failure> {
        Ok(Watermark::NONE)
    }

    async fn prune(&self, _: &Range) -> Result<Pruned, Failure> {
        Ok(Pruned::default())
    }
}

/// A broker that never delivers a message.
#[derive(Clone)]
struct Silence {
    hints: broadcast::Sender<Vec<Changed>>,
    open: Arc<std::sync::Mutex<Vec<mpsc::Sender<Delivery>>>>,
}

impl Silence {
    fn new() -> Self {
        Self { hints: broadcast::channel(1).0, open: Arc::default() }
    }
}

impl Transport for Silence {
    async fn publish(&self, _: Vec<Message>) -> Result<(), PublishError> {
        Ok(())
    }

    fn consume(&self, _: Queue, _: u16) -> Consumer {
        let (sender, deliveries) = mpsc::channel(1);
        self.open.lock().expect("whole").push(sender);
        Consumer::new(deliveries)
    }

    fn announce(&self, _: Vec<Changed>) {}

    fn changes(&self) -> broadcast::Receiver<Vec<Changed>> {
        self.hints.subscribe()
    }
}

#[tokio::test]
async fn a_loop_that_panics_stops_the_engine_and_says_so() {
    let (engine, _handle) = Engine::new(Store { broken: true }, Silence::new(), Hosted::default());
    let shutdown = CancellationToken::new();
    let ended = tokio::time::timeout(Duration::from_secs(5), engine.run(shutdown.clone())).await;
    assert!(ended.is_ok(), "it went on without its claims");
    assert!(shutdown.is_cancelled());
}

#[tokio::test]
async fn a_sound_engine_runs_until_it_is_told_to_stop_also_without_a_front_door() {
    let (engine, _) = Engine::new(Store { broken: false }, Silence::new(), Hosted::default());
    let shutdown = CancellationToken::new();
    let mut running = tokio::spawn(engine.run(shutdown.clone()));
    let early = tokio::time::timeout(Duration::from_millis(500), &mut running).await;
    assert!(early.is_err(), "it stopped by itself");
    shutdown.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), running).await;
    ended.expect("in time").expect("no panic");
}
