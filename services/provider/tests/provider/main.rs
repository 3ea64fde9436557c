//! Tests the provider from outside, over real sockets and with a real file.

mod bad_input;
mod faults;
mod idempotency;
mod payments;
mod restart;
mod support;
