//! The transport port over RabbitMQ 3.10 to 4.x.
//!
//! It publishes with confirms, consumes quorum queues, and hides every outage. Each connection
//! belongs to one supervisor. After an error, the supervisor builds a new connection, with its
//! channels, its topology and its consumer.
//!
//! It is not a general client. It knows only the exchanges and queues of [`Topology`], and it never
//! requeues. It keeps no message in memory while the broker is away: publishing then fails, and the
//! caller publishes again.
//!
//! lapin logs a lost connection a second time, after this crate, and it logs returned messages with
//! their bodies. Set the log filter of `lapin` to `off`: no information is lost.
//!
//! Read first: [`RabbitMq`], [`Settings`] and [`Topology`].

mod consume;
mod death;
mod error;
mod frames;
mod hints;
mod inlet;
mod link;
mod message;
mod properties;
mod publish;
mod sender;
mod settings;
mod topology;
mod transport;
mod users;
mod window;

pub use error::ConnectError;
pub use message::REDELIVERED_HEADER;
pub use settings::Settings;
pub use topology::{Topology, quorum};
pub use transport::RabbitMq;
pub use users::Users;
