//! The service's tables, as its handlers and its gRPC service see them.

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

/// The stock, inside a transaction.
///
/// Every transaction locks in one order, so that none waits in a circle: first a receipt's key
/// or a saga's reservations, then products by SKU.
pub trait Shelf: Send {
    /// Locks the products that exist, in the order of their SKUs.
    fn lock(&mut self, skus: &[String]) -> impl Future<Output = Result<Stock, Failure>> + Send;

    /// Writes the levels of locked products, and the reservations that changed
    /// them. A saga reserves an SKU once.
    fn reserve(
        &mut self,
        products: &[&Product],
        reservations: &[Reservation],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Closes the sagas' open reservations, and returns them. A second closing finds none.
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

    /// Takes a receipt's key. Any other transaction that takes it waits until this one has
    /// ended.
    fn claim(&mut self, receipt: &Receipt) -> impl Future<Output = Result<Claim, Failure>> + Send;

    /// Writes a product, new or locked, and the receipt that changed it.
    fn receive(
        &mut self,
        product: &Product,
        receipt: &Receipt,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The sales, inside a transaction. They are locked before products.
pub trait Sales: Send {
    /// Locks the reservations of these orders, in the order of their ids and SKUs.
    fn sales(
        &mut self,
        orders: &[SagaId],
    ) -> impl Future<Output = Result<HashMap<SagaId, Vec<Sale>>, Failure>> + Send;

    /// Writes the levels of locked products, and the goods taken back that changed them. A
    /// saga takes back an SKU once.
    fn take_back(
        &mut self,
        products: &[&Product],
        taken: &[TakenBack],
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The pieces of a product that a return takes back.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenBack {
    /// The return.
    pub saga: SagaId,
    /// The order under which it was sold.
    pub order: SagaId,
    /// The pieces that come back.
    pub line: Line,
}

/// The pieces of a product that a saga holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Reservation {
    /// The saga.
    pub saga: SagaId,
    /// The pieces that it holds.
    pub line: Line,
    /// The price of one.
    pub unit_price: Money,
}

/// The end of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Given back.
    Released,
    /// Sold.
    Committed,
}

/// The result of taking a receipt's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It was free, and is this receipt's now.
    New,
    /// This very receipt was taken in before.
    Repeated,
    /// It was used for another receipt.
    Taken,
}

/// The catalogue, for readers.
pub trait Catalogue: Send + Sync + 'static {
    /// The products after an SKU, by SKU, at most `limit` of them.
    fn page(
        &self,
        after: &str,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Product>, Failure>> + Send;
}
