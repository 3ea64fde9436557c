//! The inventory service: products, their prices, and their stock.
//!
//! Stock is reserved for a saga, then released or sold. Sold goods can be taken back by
//! another saga, which names the first one. At every instant
//! `received = available + reserved + sold` for each product. A reservation never expires.
//! This crate knows nothing of orders or payments, and knows only the ids of sagas: it
//! handles commands.
//!
//! Read first: `rule.rs` (the rules of stock), [`participant`] (the service's commands)
//! and [`grpc::service`] (the catalogue).

pub mod grpc;
mod handlers;
pub mod receipt;
pub mod rule;
pub mod table;

use std::sync::Arc;

use saga_kit::{Participant, Store};
use saga_proto::inventory::v1::{CommitStock, ReleaseStock, ReserveStock, TakeBackStock};

pub use handlers::Inventory;

/// The service's migrations. They must run after the inbox's.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Creates the service as a participant of sagas, over a store that has its tables.
#[must_use]
pub fn participant<S>(store: S) -> Participant<S>
where
    S: Store,
    S::Tx: table::Shelf + table::Sales,
{
    let inventory = Arc::new(Inventory);
    Participant::new("inventory", store)
        .action::<ReserveStock, _>(&inventory)
        .compensation::<ReleaseStock, _>(&inventory)
        .action::<CommitStock, _>(&inventory)
        .action::<TakeBackStock, _>(&inventory)
}
