//! The transport: in process, and RabbitMQ. `bench.rs` has the code that the properties share.

mod bench;
mod consuming;
mod publishing;
mod quarantine;
