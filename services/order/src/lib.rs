//! The order service: stores orders and answers reads of them.
//!
//! An order is created as PENDING, which is its semantic lock, and ends once: as
//! CONFIRMED, REJECTED or CANCELLED. Parts of a CONFIRMED order can be returned, each in a
//! return of its own; the order stays CONFIRMED. This crate knows nothing of stock, payments
//! or sagas: it handles commands.
//!
//! Read first: `rule.rs` (how an order may change), `returns.rs` (which pieces may be
//! returned), [`participant`] (the service's commands) and [`grpc::service`] (its reads).

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

/// The service's migrations. They must run after the inbox's.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// Creates the service as a participant of sagas, over a store that has its tables.
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
