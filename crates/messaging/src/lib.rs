//! Messages between the orchestrator and the participants.
//!
//! An [`Envelope`] is one CloudEvent: a command, a reply or a domain event. A parcel is a broker
//! message that carries many envelopes: all that one turn sends to one queue. [`Transport`] is the
//! port that moves parcels. Its adapter for a single process, [`InProcess`], is in this crate
//! because it needs no further dependency; the adapter for RabbitMQ is a crate of its own. This
//! crate knows no particular saga or participant.
//!
//! Read first: [`Envelope`], [`parcel::read`] and [`Transport`].

mod envelope;
mod in_process;
mod insist;
pub mod limits;
mod notice;
mod pace;
pub mod parcel;
mod publish;
mod sender;
mod silence;
pub mod trace;
mod transport;

pub use envelope::{Body, CommandBody, Envelope, EventBody, Outcome, Poison, ReplyBody};
pub use in_process::{InProcess, InProcessSettings};
pub use insist::Insisting;
pub use notice::Notice;
pub use pace::Pace;
pub use publish::{Publication, publish};
pub use sender::Sender;
pub use silence::{SILENCE, SILENT_CALLS, Silent, answered};
pub use transport::{
    Ack, Changed, Consumer, Death, Delivery, FROM_HEADER, MALFORMED_HEADER, Message, ORCHESTRATOR,
    PublishError, Queue, REASON_HEADER, Refused, Route, Transport,
};
