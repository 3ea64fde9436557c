//! The tap on a participant's store.

use std::{
    future::{Future, ready},
    time::Duration,
};

use saga_core::{Failure, SagaId, Watermark};
use saga_kit::{Entry, Key, Locked, Pruned, Store};

use crate::Tapped;

/// The transactions of the store behind a tap. A tap cannot wrap them, because handlers use them.
type Tx<T> = <<T as InboxTap>::Inner as Store>::Tx;

/// A tap on a participant's store. The methods are those of [`Store`]; each forwards its call.
pub trait InboxTap: Clone + Send + Sync + 'static {
    /// The type of the store behind the tap.
    type Inner: Store;

    /// Returns the store behind the tap.
    fn inner(&self) -> &Self::Inner;

    /// Runs before [`Store::raise`] and [`Store::prune`]. If it fails, the call fails.
    fn entered(&self) -> impl Future<Output = Result<(), Failure>> + Send {
        ready(Ok(()))
    }

    /// As [`Store::begin`].
    fn begin(&self) -> impl Future<Output = Result<Tx<Self>, Failure>> + Send {
        self.inner().begin()
    }

    /// As [`Store::lock`].
    fn lock(
        &self,
        tx: &mut Tx<Self>,
        keys: &[Key],
    ) -> impl Future<Output = Result<Locked, Failure>> + Send {
        self.inner().lock(tx, keys)
    }

    /// As [`Store::record`].
    fn record(
        &self,
        tx: &mut Tx<Self>,
        entries: &[Entry],
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        self.inner().record(tx, entries)
    }

    /// As [`Store::commit`].
    fn commit(&self, tx: Tx<Self>) -> impl Future<Output = Result<(), Failure>> + Send {
        self.inner().commit(tx)
    }
}

impl<T: InboxTap> Store for Tapped<T> {
    type Tx = Tx<T>;

    const SYSTEM: &'static str = T::Inner::SYSTEM;

    const SETTLING: Duration = T::Inner::SETTLING;

    async fn begin(&self) -> Result<Self::Tx, Failure> {
        self.0.begin().await
    }

    async fn lock(&self, tx: &mut Self::Tx, keys: &[Key]) -> Result<Locked, Failure> {
        self.0.lock(tx, keys).await
    }

    async fn record(&self, tx: &mut Self::Tx, entries: &[Entry]) -> Result<(), Failure> {
        self.0.record(tx, entries).await
    }

    async fn raise(&self, watermark: Watermark, age: Duration) -> Result<Watermark, Failure> {
        self.0.entered().await?;
        self.0.inner().raise(watermark, age).await
    }

    async fn prune(&self, from: SagaId, below: Watermark, limit: usize) -> Result<Pruned, Failure> {
        self.0.entered().await?;
        self.0.inner().prune(from, below, limit).await
    }

    async fn commit(&self, tx: Self::Tx) -> Result<(), Failure> {
        self.0.commit(tx).await
    }
}
