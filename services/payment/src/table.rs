//! The port over the service's own tables, inside the kit's transaction.

pub mod postgres;
mod row;
pub mod sqlite;

use std::future::Future;

use saga_core::{Failure, SagaId};

use crate::rule::{Entry, Payment, Refund};

/// The payments, their ledger and their refunds: each method takes a whole batch.
pub trait Payments: Send + 'static {
    /// Reads the payments of those orders that have one, in the orders' order,
    /// and locks them until the transaction ends.
    fn lock(
        &mut self,
        orders: &[SagaId],
    ) -> impl Future<Output = Result<Vec<Payment>, Failure>> + Send;

    /// Adds payments; one whose order has one already is left out.
    fn open(&mut self, payments: &[Payment]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Writes payments, at most one an order, whether they are there or not, and
    /// adds to the ledger what it does not have.
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

    /// Writes refunds, whether they are there or not.
    fn save_refunds(
        &mut self,
        refunds: &[Refund],
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}
