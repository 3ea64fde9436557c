//! The service's tables, as ports for its handlers and its gRPC service.

pub mod postgres;
mod row;
pub mod sqlite;

use std::{collections::HashMap, future::Future};

use saga_core::{Failure, SagaId};
use saga_proto::{Money, types::v1::Line};

use crate::{
    receipt::Receipt,
    rule::{Product, Sale, Stock},
};

/// The stock, within a transaction.
///
/// Every transaction takes its locks in the same order, so that there are no deadlocks: first a
/// receipt's key or a saga's reservations, then products in the order of their SKUs.
pub trait Shelf: Send {
    /// Locks those of the products that exist, in the order of their SKUs.
    fn lock(&mut self, skus: &[String]) -> impl Future<Output = Result<Stock, Failure>> + Send;

    /// Writes the levels of locked products, and the reservations that changed them. A saga
    /// reserves each SKU at most once.
    fn reserve(
        &mut self,
        products: &[&Product],
        reservations: &[Reservation],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Closes the sagas' open reservations, and returns them. If it is repeated, it finds none.
    fn close(
        &mut self,
        sagas: &[SagaId],
        how: Closing,
    ) -> impl Future<Output = Result<Vec<(SagaId, Line)>, Failure>> + Send;

    /// Writes the levels of locked products, and the closed reservations that changed them.
    fn settle(
        &mut self,
        products: &[&Product],
        closed: &[(SagaId, Line)],
        how: Closing,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Reserves a receipt's key for this transaction. Other transactions that do the same wait
    /// until this one has ended.
    fn claim(&mut self, receipt: &Receipt) -> impl Future<Output = Result<Claim, Failure>> + Send;

    /// Writes a product, which is new or locked, and the receipt that changed it.
    fn receive(
        &mut self,
        product: &Product,
        receipt: &Receipt,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The sales, within a transaction. Sales are locked before products.
pub trait Sales: Send {
    /// Locks the reservations of these orders, in the order of order ids and SKUs.
    fn sales(
        &mut self,
        orders: &[SagaId],
    ) -> impl Future<Output = Result<HashMap<SagaId, Vec<Sale>>, Failure>> + Send;

    /// Writes the levels of locked products, and the returned goods that changed them. A saga takes
    /// back each SKU at most once.
    fn take_back(
        &mut self,
        products: &[&Product],
        taken: &[TakenBack],
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The pieces of a product that a return takes back.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenBack {
    /// The id of the return's saga.
    pub saga: SagaId,
    /// The id of the order for which the pieces were sold.
    pub order: SagaId,
    /// The pieces that are returned.
    pub line: Line,
}

/// The pieces of a product that are reserved for a saga.
#[derive(Clone, Debug, PartialEq)]
pub struct Reservation {
    /// The saga's id.
    pub saga: SagaId,
    /// The pieces that are reserved.
    pub line: Line,
    /// The price of one piece.
    pub unit_price: Money,
}

/// The ways in which a reservation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The stock is released.
    Released,
    /// The stock is sold.
    Committed,
}

/// The results of reserving a receipt's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The key was free, and now belongs to this receipt.
    New,
    /// The key belongs to this receipt, which was already received before.
    Repeated,
    /// The key belongs to another receipt.
    Taken,
}

/// The catalogue, for readers.
pub trait Catalogue: Send + Sync + 'static {
    /// Reads at most `limit` products that follow an SKU, in the order of their SKUs.
    fn page(
        &self,
        after: &str,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Product>, Failure>> + Send;
}
