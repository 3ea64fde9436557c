//! The inventory service: products, their prices, and their stock.
//!
//! Stock is reserved for a saga, then given back or sold; what was sold can be taken
//! back, by another saga that names the first. At every instant
//! `received = available + reserved + sold` for each product. This crate knows no
//! order, no payment and no saga but its id: it answers commands. A reservation
//! never ends by itself.
//!
//! Read first: `rule.rs` (what may happen to stock), [`participant`] (its
//! commands) and [`grpc::service`] (the catalogue).

pub mod grpc;
mod handlers;
pub mod receipt;
pub mod rule;
pub mod table;

use std::sync::Arc;

use saga_kit::{Participant, Store};
use saga_proto::inventory::v1::{CommitStock, ReleaseStock, ReserveStock, TakeBackStock};

pub use handlers::Inventory;

/// The service's migrations, to be run after the inbox's.
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
