//! Throw-away servers and processes for the tests: a private PostgreSQL, a private RabbitMQ, and
//! programs of ours, each of which can be killed with signal 9 and started again.
//!
//! It is not for production and not a place for test data or assertions about sagas. Everything
//! binds to 127.0.0.1, every wait is bounded, and whatever was started ends with the process that
//! started it, even if that process is killed (see `reaper.rs`).
//!
//! Read first: [`Servers`] (what an ordinary test takes), [`Postgres`] and [`RabbitMq`] (what a test
//! that kills servers takes), [`process::Spawned`] (our own programs as processes), [`system::System`]
//! (all roles of `saga` as processes).
//!
//! All calls block. In an async test they are short, except starting and restarting a server
//! (seconds): use a multi-threaded runtime, or `spawn_blocking`, when other tasks must go on
//! meanwhile.

pub mod amqp;
mod child;
mod installed;
mod ports;
mod postgres;
pub mod process;
pub mod proxy;
mod rabbitmq;
pub mod raw_amqp;
mod reaper;
mod servers;
pub mod sql_proxy;
pub mod system;
mod wait;

pub use crate::ports::free_port;
pub use crate::postgres::Postgres;
pub use crate::rabbitmq::RabbitMq;
pub use crate::servers::{AMQP_URL_VARIABLE, POSTGRES_URL_VARIABLE, Servers};
pub use crate::wait::{eventually, wait_until};
