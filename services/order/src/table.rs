//! The service's tables, as its handlers and its reads see them.

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

/// The orders, inside a transaction.
pub trait Orders: Send {
    /// Creates orders with their lines as PENDING, and returns the ids of those that were
    /// new. The ids are distinct.
    fn insert(
        &mut self,
        orders: &[NewOrder<'_>],
    ) -> impl Future<Output = Result<HashSet<SagaId>, Failure>> + Send;

    /// Locks the orders that exist, in the order of their ids.
    fn lock(
        &mut self,
        ids: &[SagaId],
    ) -> impl Future<Output = Result<HashMap<SagaId, Known>, Failure>> + Send;

    /// Ends orders that are locked. An end with prices has one for every line of its order.
    fn end(&mut self, ends: &[(SagaId, End)]) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The returns, inside a transaction. Every transaction locks returns first and orders after
/// them, both in the order of their ids.
pub trait Returns: Send {
    /// Locks the orders that exist, and reads them with the pieces that have come back.
    fn lock_returnable(
        &mut self,
        orders: &[SagaId],
    ) -> impl Future<Output = Result<HashMap<SagaId, Returnable>, Failure>> + Send;

    /// Writes new returns, and holds their pieces in their orders, which are locked.
    fn open(&mut self, returns: &[Return]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Locks the returns that exist.
    fn lock_returns(
        &mut self,
        returns: &[SagaId],
    ) -> impl Future<Output = Result<HashMap<SagaId, Return>, Failure>> + Send;

    /// Writes the ends of returns. Their pieces are no longer held; those of a return that
    /// is done have come back, and were refunded. Returns and orders are locked.
    fn close(&mut self, returns: &[Return]) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// An order to be created.
#[derive(Clone, Copy, Debug)]
pub struct NewOrder<'a> {
    /// Its saga's id.
    pub id: SagaId,
    /// The caller that placed it.
    pub caller: &'a str,
    /// The customer's name.
    pub customer: &'a str,
    /// The lines that were ordered.
    pub lines: &'a [Line],
}

/// The orders, for readers. Each read is one statement, so that it sees an order before or
/// after a change, and never in between.
pub trait Reads: Send + Sync + 'static {
    /// One order.
    fn order(&self, id: SagaId) -> impl Future<Output = Result<Option<Order>, Failure>> + Send;

    /// A page of orders, newest first.
    fn page(&self, page: &Page) -> impl Future<Output = Result<Vec<Order>, Failure>> + Send;
}

/// The orders that a page is to have.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Only this customer's.
    pub customer: Option<String>,
    /// Only those with this status.
    pub status: Option<Status>,
    /// Only those that are older than this one.
    pub before: Option<SagaId>,
    /// At most this many.
    pub limit: u32,
}
