//! The order service: keeps orders, and lets them be read.
//!
//! An order is created as PENDING, which is its semantic lock, and ends once: as
//! CONFIRMED, REJECTED or CANCELLED. What is CONFIRMED can come back, in parts, each
//! of them a return; the order stays CONFIRMED. This crate knows no stock, no payment and no
//! saga: it answers commands.
//!
//! Read first: `rule.rs` (what may become of an order), `returns.rs` (what may come back), [`participant`] (its
//! commands) and [`grpc::service`] (its reads).

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

/// The service's migrations, to be run after the inbox's.
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
