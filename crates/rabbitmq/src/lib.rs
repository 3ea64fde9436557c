//! The transport port over RabbitMQ 3.10 to 4.x.
//!
//! It publishes with confirms, consumes quorum queues, and hides every outage:
//! each connection belongs to one supervisor, which builds it anew, with its
//! channels, its topology and its consumer, after any error at all.
//!
//! It is not a general client: it knows only the exchanges and queues of
//! [`Topology`], it never requeues, and it keeps no message in memory while the
//! broker is away (publishing then fails, and the caller publishes again).
//!
//! A connection that this crate has logged as lost is logged by lapin too, and
//! lapin logs returned messages with their bodies: filter `lapin` down to
//! `off`, nothing is lost by it.
//!
//! Read first: [`RabbitMq`], [`Settings`] and [`Topology`].

mod consume;
mod death;
mod error;
mod hints;
mod link;
mod message;
pub mod probe;
mod publish;
mod settings;
mod topology;
mod transport;
mod window;

pub use error::ConnectError;
pub use message::REDELIVERED_HEADER;
pub use settings::Settings;
pub use topology::Topology;
pub use transport::RabbitMq;
