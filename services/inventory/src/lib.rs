//! The inventory service: products, their prices, and their stock.
//!
//! Stock is reserved for a saga, then given back or sold. Sold goods can be taken back by
//! another saga that names the first. At every instant
//! `received = available + reserved + sold` for each product. A reservation never ends by
//! itself. This crate knows of no order and no payment, and of sagas only their ids: it
//! answers commands.
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

/// The service's migrations. The inbox's run before them.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The service as a participant of sagas, over a store that holds its tables.
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
