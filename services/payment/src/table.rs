//! The port over the service's own tables, inside the kit's transaction.

pub mod postgres;
mod row;
pub mod sqlite;

use std::future::Future;

use saga_core::{Failure, SagaId};

use crate::rule::{Entry, Payment, Refund};

/// The payments, their ledger and their refunds: each method takes a whole batch.
pub trait Payments: Send + 'static {
    /// Reads the payments of the orders that have one, in the order of their ids, and locks them
    /// until the transaction ends.
    fn lock(
        &mut self,
        orders: &[SagaId],
    ) -> impl Future<Output = Result<Vec<Payment>, Failure>> + Send;

    /// Adds payments. A payment whose order has one already is left out.
    fn open(&mut self, payments: &[Payment]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Inserts or updates payments, at most one an order, and adds those entries to the ledger
    /// that it does not have yet.
    fn save(
        &mut self,
        payments: &[Payment],
        entries: &[Entry],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Reads the refunds of orders whose payments are locked.
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
