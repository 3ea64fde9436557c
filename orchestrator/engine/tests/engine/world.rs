//! A store and a broker of which a test says how they fail.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use saga_core::{Failure, HistoryEntry, Instance, SagaId, Timestamp, Watermark};
use saga_engine::{
    Admission, Census, Handled, Horizon, IdempotencyKey, Inspected, ListFilter, NewQuarantined,
    Pruned, QuarantineFilter, Quarantined, Range, Retention, SagaReads, SagaStore, Write,
};
use saga_messaging::{Changed, Consumer, Delivery, Message, PublishError, Queue, Transport};
use tokio::sync::{broadcast, mpsc};

/// Returns the id of a saga.
pub(crate) fn saga(number: u32) -> SagaId {
    format!("00000000-0000-7000-8000-{number:012x}").parse().expect("an id")
}

/// An empty store.
#[derive(Clone, Default)]
pub(crate) struct Store {
    /// True if claims panic.
    pub(crate) broken: bool,
    /// True if a peer that is frozen has locked every row.
    pub(crate) locked: bool,
    /// The version of every saga.
    pub(crate) version: u64,
    /// If more sagas than this are claimed at once, that takes longer than a statement may.
    pub(crate) most_claimed: Option<usize>,
    /// The limit of each claim.
    pub(crate) claims: Arc<std::sync::Mutex<Vec<usize>>>,
    /// Number of reads of versions.
    pub(crate) reads: Arc<AtomicUsize>,
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
        if self.locked {
            pending::<()>().await;
        }
        Ok(decide(Timestamp(0), Vec::new()).1)
    }

    async fn claim<R: Send>(
        &self,
        _: &[(&'static str, u32)],
        limit: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        assert!(!self.broken, "a bug in the store");
        self.claims.lock().expect("whole").push(limit);
        if self.most_claimed.is_some_and(|most| limit > most) {
            return Err(Failure::Unavailable(
                "canceling statement due to statement timeout".into(),
            ));
        }
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

    async fn versions(&self, ids: &[SagaId]) -> Result<Vec<(SagaId, u64, bool)>, Failure> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(ids.iter().map(|id| (*id, self.version, false)).collect())
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

/// Maximum number of hints that wait for the engine.
const HINTS: usize = 16;

/// A broker that never delivers a message.
#[derive(Clone)]
pub(crate) struct Silence {
    pub(crate) hints: broadcast::Sender<Vec<Changed>>,
    open: Arc<std::sync::Mutex<Vec<mpsc::Sender<Delivery>>>>,
}

impl Silence {
    pub(crate) fn new() -> Self {
        Self { hints: broadcast::channel(HINTS).0, open: Arc::default() }
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
