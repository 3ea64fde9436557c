//! Temporary servers and processes for the tests: a private PostgreSQL, a private RabbitMQ, and
//! programs of ours. Each can be killed with signal 9 and started again.
//!
//! This crate is not for production, and it contains no assertions about sagas. Every server binds
//! to 127.0.0.1, and every wait has a time limit. All servers and processes end with the process
//! that started them, even if that process is killed (see `reaper.rs`).
//!
//! Read first: [`Servers`] (for ordinary tests), [`Postgres`] and [`RabbitMq`] (for tests that kill
//! servers), [`process::Spawned`] (our own programs as processes), [`system::System`] (all roles of
//! `saga` as processes), `shopper.rs` (what customers order),
//! [`desk::Desk`] (what operators do).
//!
//! Most functions block, usually for a short time, but starting or restarting a server takes
//! seconds. An async test with other tasks that must continue meanwhile needs a multi-threaded
//! runtime or `spawn_blocking`.

pub mod amqp;
mod child;
pub mod desk;
mod installed;
mod ports;
mod postgres;
pub mod process;
pub mod proxy;
mod rabbitmq;
pub mod raw_amqp;
mod reaper;
pub mod scripted_shop;
mod servers;
pub mod shopper;
pub mod sql_proxy;
pub mod system;
mod wait;

pub use crate::ports::free_port;
pub use crate::postgres::Postgres;
pub use crate::rabbitmq::RabbitMq;
pub use crate::servers::{AMQP_URL_VARIABLE, POSTGRES_URL_VARIABLE, Servers};
pub use crate::wait::{eventually, wait_until};
