//! The service as a whole: its handlers in the real kit, on a real Postgres, with the real
//! provider. Only the broker is a stand-in; in `slow.rs` all of them are.

mod compensations;
mod handlers;
mod refunds;
mod shop;
mod slow;
mod wire;
