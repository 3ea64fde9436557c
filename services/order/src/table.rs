//! The service's tables, as ports for its handlers and its reads.

pub mod postgres;
mod row;
pub mod sqlite;

use std::{
    collections::{HashMap, HashSet},
    future::Future,
};

use saga_core::{Failure, SagaId};
use saga_proto::{order::v1::Order, types::v1::Line};

use crate::{
    returns::{Return, Returnable},
    rule::{End, Known, Status},
};

/// The orders, within a transaction.
pub trait Orders: Send {
    /// Creates orders with their lines as PENDING. Returns the ids of those that did not exist
    /// before. The given ids are distinct.
    fn insert(
        &mut self,
        orders: &[NewOrder<'_>],
    ) -> impl Future<Output = Result<HashSet<SagaId>, Failure>> + Send;

    /// Locks those of the orders that exist, in the order of their ids.
    fn lock(
        &mut self,
        ids: &[SagaId],
    ) -> impl Future<Output = Result<HashMap<SagaId, Known>, Failure>> + Send;

    /// Ends orders that are locked. An end with prices has one price for every line of its order.
    fn end(&mut self, ends: &[(SagaId, End)]) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The returns, within a transaction. Every transaction locks returns before orders, and both in
/// the order of their ids.
pub trait Returns: Send {
    /// Locks those of the orders that exist, and reads them with the pieces that were returned.
    fn lock_returnable(
        &mut self,
        orders: &[SagaId],
    ) -> impl Future<Output = Result<HashMap<SagaId, Returnable>, Failure>> + Send;

    /// Writes new returns, and holds their pieces in their orders. The orders are locked.
    fn open(&mut self, returns: &[Return]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Locks those of the returns that exist.
    fn lock_returns(
        &mut self,
        returns: &[SagaId],
    ) -> impl Future<Output = Result<HashMap<SagaId, Return>, Failure>> + Send;

    /// Writes the ends of returns. Their pieces are no longer held. The pieces of a return that is
    /// done count as returned, and their worth as refunded. Returns and orders are locked.
    fn close(&mut self, returns: &[Return]) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// An order to be created.
#[derive(Clone, Copy, Debug)]
pub struct NewOrder<'a> {
    /// The order's id, which is also its saga's id.
    pub id: SagaId,
    /// The caller that placed it.
    pub caller: &'a str,
    /// The customer's name.
    pub customer: &'a str,
    /// The lines that were ordered.
    pub lines: &'a [Line],
}

/// The orders, for readers. Each read is one statement, so that it sees an order either before or
/// after a change.
pub trait Reads: Send + Sync + 'static {
    /// Reads one order.
    fn order(&self, id: SagaId) -> impl Future<Output = Result<Option<Order>, Failure>> + Send;

    /// Reads a page of orders, newest first.
    fn page(&self, page: &Page) -> impl Future<Output = Result<Vec<Order>, Failure>> + Send;
}

/// Selects the orders of a page.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// If set, only orders of this customer.
    pub customer: Option<String>,
    /// If set, only orders with this status.
    pub status: Option<Status>,
    /// If set, only orders that are older than this one.
    pub before: Option<SagaId>,
    /// Maximum number of orders.
    pub limit: u32,
}
