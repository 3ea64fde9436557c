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
/// Everybody locks in one order, so nobody waits in a circle: a receipt's key or
/// a saga's reservations first, products after them, by SKU.
pub trait Shelf: Send {
    /// Locks those of the products that exist, in the order of their SKUs.
    fn lock(&mut self, skus: &[String]) -> impl Future<Output = Result<Stock, Failure>> + Send;

    /// Writes the levels of locked products, and the reservations that changed
    /// them. A saga reserves an SKU once.
    fn reserve(
        &mut self,
        products: &[&Product],
        reservations: &[Reservation],
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Closes the sagas' open reservations, and returns them. Whoever comes
    /// second finds none.
    fn close(
        &mut self,
        sagas: &[SagaId],
        how: Closing,
    ) -> impl Future<Output = Result<Vec<(SagaId, Line)>, Failure>> + Send;

    /// Writes the levels of locked products, and what was closed to change them.
    fn settle(
        &mut self,
        products: &[&Product],
        closed: &[(SagaId, Line)],
        how: Closing,
    ) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Takes a receipt's key. Whoever else wants it waits until the transaction
    /// has ended.
    fn claim(&mut self, receipt: &Receipt) -> impl Future<Output = Result<Claim, Failure>> + Send;

    /// Writes a product, new or locked, and the receipt that changed it.
    fn receive(
        &mut self,
        product: &Product,
        receipt: &Receipt,
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What was sold, inside a transaction. Sales are locked before products.
pub trait Sales: Send {
    /// Locks what was reserved under those orders, in the order of their ids and SKUs.
    fn sales(
        &mut self,
        orders: &[SagaId],
    ) -> impl Future<Output = Result<HashMap<SagaId, Vec<Sale>>, Failure>> + Send;

    /// Writes the levels of locked products, and what was taken back to change them.
    /// A saga takes back an SKU once.
    fn take_back(
        &mut self,
        products: &[&Product],
        taken: &[TakenBack],
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// What a return takes back of a product.
#[derive(Clone, Debug, PartialEq)]
pub struct TakenBack {
    /// The return.
    pub saga: SagaId,
    /// The order under which it was sold.
    pub order: SagaId,
    /// What comes back.
    pub line: Line,
}

/// What a saga holds of a product.
#[derive(Clone, Debug, PartialEq)]
pub struct Reservation {
    /// The saga.
    pub saga: SagaId,
    /// What it holds.
    pub line: Line,
    /// At which price.
    pub unit_price: Money,
}

/// How a reservation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// Given back.
    Released,
    /// Sold.
    Committed,
}

/// What is known of a receipt's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nothing: it is ours now.
    New,
    /// This very receipt was taken in before.
    Repeated,
    /// It was used for another receipt.
    Taken,
}

/// The catalogue, for those who only read.
pub trait Catalogue: Send + Sync + 'static {
    /// The products after an SKU, by SKU, at most so many.
    fn page(
        &self,
        after: &str,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Product>, Failure>> + Send;
}
