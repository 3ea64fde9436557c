//! Tests of the whole service: its handlers in the real kit, with a real Postgres and the real
//! provider. The broker is in memory. In `slow.rs` the database is too, and the provider is a
//! stand-in.

mod compensations;
mod handlers;
mod refunds;
mod shop;
mod slow;
