//! The tap on the store of the sagas.

use std::future::{Future, ready};

use saga_core::{Failure, HistoryEntry, Instance, SagaId, Timestamp, Watermark};
use saga_engine::{
    Admission, Census, Handled, Horizon, IdempotencyKey, Inspected, ListFilter, NewQuarantined,
    Pruned, QuarantineFilter, Quarantined, Range, Retention, SagaReads, SagaStore, Write,
};

use crate::Tapped;

/// A tap on a store of sagas. The methods are those of [`SagaStore`]; each forwards its call.
pub trait SagaTap: Clone + Send + Sync + 'static {
    /// The type of the store behind the tap.
    type Inner: SagaStore + SagaReads + Retention;

    /// Returns the store behind the tap.
    fn inner(&self) -> &Self::Inner;

    /// Runs before every call, also of reads. If it fails, the call fails.
    fn entered(&self) -> impl Future<Output = Result<(), Failure>> + Send {
        ready(Ok(()))
    }

    /// As [`SagaStore::admit`].
    fn admit<R: Send>(
        &self,
        keys: &[IdempotencyKey],
        decide: impl Fn(Timestamp, &[usize]) -> (Vec<Write>, R) + Send + Sync,
    ) -> impl Future<Output = Result<(Vec<Admission>, Option<R>), Failure>> + Send {
        self.inner().admit(keys, decide)
    }

    /// As [`SagaStore::turn`].
    fn turn<R: Send>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> impl Future<Output = Result<R, Failure>> + Send {
        self.inner().turn(ids, decide)
    }

    /// As [`SagaStore::claim`].
    fn claim<R: Send>(
        &self,
        definitions: &[(&'static str, u32)],
        limit: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> impl Future<Output = Result<R, Failure>> + Send {
        self.inner().claim(definitions, limit, decide)
    }

    /// As [`SagaStore::quarantine`].
    fn quarantine(
        &self,
        messages: &[NewQuarantined],
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        self.inner().quarantine(messages)
    }
}

impl<T: SagaTap> SagaStore for Tapped<T> {
    const SYSTEM: &'static str = T::Inner::SYSTEM;

    async fn admit<R: Send>(
        &self,
        keys: &[IdempotencyKey],
        decide: impl Fn(Timestamp, &[usize]) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<(Vec<Admission>, Option<R>), Failure> {
        self.0.entered().await?;
        self.0.admit(keys, decide).await
    }

    async fn known(&self, keys: &[IdempotencyKey]) -> Result<Vec<Option<Admission>>, Failure> {
        self.0.entered().await?;
        self.0.inner().known(keys).await
    }

    async fn turn<R: Send>(
        &self,
        ids: &[SagaId],
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        self.0.entered().await?;
        self.0.turn(ids, decide).await
    }

    async fn claim<R: Send>(
        &self,
        definitions: &[(&'static str, u32)],
        limit: usize,
        decide: impl Fn(Timestamp, Vec<Instance>) -> (Vec<Write>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        self.0.entered().await?;
        self.0.claim(definitions, limit, decide).await
    }

    async fn quarantine(&self, messages: &[NewQuarantined]) -> Result<(), Failure> {
        self.0.entered().await?;
        self.0.quarantine(messages).await
    }

    async fn handle<R: Send>(
        &self,
        message: &str,
        saga: Option<SagaId>,
        decide: impl Fn(Inspected) -> (Option<Handled>, R) + Send + Sync,
    ) -> Result<R, Failure> {
        self.0.entered().await?;
        self.0.inner().handle(message, saga, decide).await
    }
}

impl<T: SagaTap> SagaReads for Tapped<T> {
    async fn find(&self, ids: &[SagaId]) -> Result<Vec<Instance>, Failure> {
        self.0.entered().await?;
        self.0.inner().find(ids).await
    }

    async fn versions(&self, ids: &[SagaId]) -> Result<Vec<(SagaId, u64, bool)>, Failure> {
        self.0.entered().await?;
        self.0.inner().versions(ids).await
    }

    async fn history(&self, id: SagaId, after: u64) -> Result<Vec<HistoryEntry>, Failure> {
        self.0.entered().await?;
        self.0.inner().history(id, after).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<Instance>, Failure> {
        self.0.entered().await?;
        self.0.inner().list(filter).await
    }

    async fn in_flight(&self) -> Result<u64, Failure> {
        self.0.entered().await?;
        self.0.inner().in_flight().await
    }

    async fn quarantined(&self, filter: &QuarantineFilter) -> Result<Vec<Quarantined>, Failure> {
        self.0.entered().await?;
        self.0.inner().quarantined(filter).await
    }

    async fn census(&self) -> Result<Census, Failure> {
        self.0.entered().await?;
        self.0.inner().census().await
    }
}

impl<T: SagaTap> Retention for Tapped<T> {
    async fn advance(&self, retention_millis: u64) -> Result<Horizon, Failure> {
        self.0.entered().await?;
        self.0.inner().advance(retention_millis).await
    }

    async fn watermark(&self) -> Result<Watermark, Failure> {
        self.0.entered().await?;
        self.0.inner().watermark().await
    }

    async fn prune(&self, range: &Range) -> Result<Pruned, Failure> {
        self.0.entered().await?;
        self.0.inner().prune(range).await
    }
}
