//! The transport: in process, and RabbitMQ. `bench.rs` has what the
//! properties share.

mod bench;
mod consuming;
mod publishing;
mod quarantine;
