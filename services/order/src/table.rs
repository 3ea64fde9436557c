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
    /// Creates orders with their lines as PENDING, and returns which of them were
    /// new. The ids are distinct.
    fn insert(
        &mut self,
        orders: &[NewOrder<'_>],
    ) -> impl Future<Output = Result<HashSet<SagaId>, Failure>> + Send;

    /// Locks those orders that exist, in the order of their ids.
    fn lock(
        &mut self,
        ids: &[SagaId],
    ) -> impl Future<Output = Result<HashMap<SagaId, Known>, Failure>> + Send;

    /// Ends orders that are locked. An order's prices are those of all its lines.
    fn end(&mut self, ends: &[(SagaId, End)]) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What comes back of orders, inside a transaction. Everybody locks returns first,
/// orders after them, both in the order of their ids.
pub trait Returns: Send {
    /// Locks those orders that exist, with what has come back of them.
    fn lock_returnable(
        &mut self,
        orders: &[SagaId],
    ) -> impl Future<Output = Result<HashMap<SagaId, Returnable>, Failure>> + Send;

    /// Writes new returns, and holds their pieces in their orders, which are locked.
    fn open(&mut self, returns: &[Return]) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Locks those returns that exist.
    fn lock_returns(
        &mut self,
        returns: &[SagaId],
    ) -> impl Future<Output = Result<HashMap<SagaId, Return>, Failure>> + Send;

    /// Writes that returns have ended, as they say: their pieces are no longer held,
    /// and of those that are done have come back, and were refunded. Returns and
    /// orders are locked.
    fn close(&mut self, returns: &[Return]) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// An order to be created.
#[derive(Clone, Copy, Debug)]
pub struct NewOrder<'a> {
    /// Its saga's id.
    pub id: SagaId,
    /// Whose request it was.
    pub caller: &'a str,
    /// Who ordered.
    pub customer: &'a str,
    /// What was ordered.
    pub lines: &'a [Line],
}

/// The orders, for those who only read. Each read is one statement, so that it
/// sees an order before or after a change and never in between.
pub trait Reads: Send + Sync + 'static {
    /// One order.
    fn order(&self, id: SagaId) -> impl Future<Output = Result<Option<Order>, Failure>> + Send;

    /// A page of orders, newest first.
    fn page(&self, page: &Page) -> impl Future<Output = Result<Vec<Order>, Failure>> + Send;
}

/// Which orders.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Only this customer's.
    pub customer: Option<String>,
    /// Only those that stand here.
    pub status: Option<Status>,
    /// Only those that are older than this one.
    pub before: Option<SagaId>,
    /// At most so many.
    pub limit: u32,
}
