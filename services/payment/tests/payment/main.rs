//! Tests of the whole service: its handlers in the real kit, with a real Postgres and the real
//! provider. Only the broker is a stand-in. In `slow.rs` the database and the provider are too.

mod compensations;
mod handlers;
mod refunds;
mod shop;
mod slow;
mod wire;
