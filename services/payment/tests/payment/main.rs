//! The service as a whole: its handlers in the real kit, on real Postgres, with
//! the real provider; only the broker is a stand-in.

mod compensations;
mod handlers;
mod refunds;
mod shop;
mod wire;
