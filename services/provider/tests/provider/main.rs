//! The provider from outside: real sockets, a real file.

mod bad_input;
mod faults;
mod idempotency;
mod payments;
mod restart;
mod support;
