//! The port to the service's own tables, inside the kit's transaction.

pub mod postgres;
mod row;
pub mod sqlite;

use std::future::Future;

use saga_core::{Failure, SagaId};

use crate::rule::{Entry, Payment, Refund};

/// The payments, their ledger and their refunds. Each method handles a whole batch.
pub trait Payments: Send + 'static {
    /// Reads the existing payments of these orders, in the order of their ids, and locks them until
    /// the transaction ends.
    fn lock(
        &mut self,
        orders: &[SagaId],
    ) -> impl Future<Output = Result<Vec<Payment>, Failure>> + Send;

    /// Inserts payments. Skips a payment if its order already has one.
    fn open(&mut self, payments: &[Payment]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Inserts or updates payments, at most one for each order. Adds the ledger entries that do not
    /// exist yet.
    fn save(
        &mut self,
        payments: &[Payment],
        entries: &[Entry],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Reads the refunds of these orders, whose payments the caller has locked.
    fn refunds(
        &mut self,
        orders: &[SagaId],
    ) -> impl Future<Output = Result<Vec<Refund>, Failure>> + Send;

    /// Inserts or updates refunds.
    fn save_refunds(
        &mut self,
        refunds: &[Refund],
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}
