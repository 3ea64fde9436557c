//! Messages between the orchestrator and the participants.
//!
//! An [`Envelope`] is one CloudEvent: a command, a reply or a domain event. A
//! parcel is a broker message that carries many of them: what one turn has to
//! say to one queue. [`Transport`] is the port that moves parcels; its adapters
//! (RabbitMQ; in process) live in crates of their own, and this crate knows
//! neither of them, nor any saga or participant.
//!
//! Read first: [`Envelope`], [`parcel::read`] and [`Transport`].

mod envelope;
pub mod limits;
pub mod parcel;
mod publish;
pub mod trace;
mod transport;

pub use envelope::{Body, CommandBody, Envelope, EventBody, Outcome, Poison, ReplyBody};
pub use publish::publish;
pub use transport::{
    Ack, Changed, Consumer, Death, Delivery, Message, PublishError, Queue, Refused, Route,
    Transport,
};
