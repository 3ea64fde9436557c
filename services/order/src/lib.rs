//! The order service: keeps orders, and lets them be read.
//!
//! An order is created as PENDING, which is its semantic lock, and ends once: as
//! CONFIRMED, REJECTED or CANCELLED. A CONFIRMED order can come back in parts, each of
//! which is a return; the order stays CONFIRMED. This crate knows of no stock, no payment
//! and no saga: it answers commands.
//!
//! Read first: `rule.rs` (how an order may change), `returns.rs` (the pieces that may come
//! back), [`participant`] (the service's commands) and [`grpc::service`] (its reads).

pub mod grpc;
mod handlers;
pub mod returns;
pub mod rule;
pub mod table;

use std::sync::Arc;

use saga_kit::{Participant, Store};
use saga_proto::order::v1::{
    ConfirmOrder, CreateOrder, MarkReturned, OpenReturn, RejectOrder, RejectReturn,
};

pub use handlers::OrderBook;

/// The service's migrations. The inbox's run before them.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The service as a participant of sagas, over a store that holds its tables.
#[must_use]
pub fn participant<S>(store: S) -> Participant<S>
where
    S: Store,
    S::Tx: table::Orders + table::Returns,
{
    let orders = Arc::new(OrderBook);
    Participant::new("order", store)
        .action::<CreateOrder, _>(&orders)
        .compensation::<RejectOrder, _>(&orders)
        .action::<ConfirmOrder, _>(&orders)
        .action::<OpenReturn, _>(&orders)
        .compensation::<RejectReturn, _>(&orders)
        .action::<MarkReturned, _>(&orders)
}
