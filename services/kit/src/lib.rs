//! The participant kit: a service writes its business rule, and the kit does the rest.
//!
//! The kit consumes a participant's commands, runs all that have arrived in one transaction,
//! records each answer under the command's id, and replies. A service provides handlers:
//! [`Handle`] for effects in its own database, [`HandleOutside`] for effects in the outside
//! world. The kit knows no particular database, broker, service or saga.
//!
//! Read first: [`Handle`], [`Participant`] and [`Store`]; then `batch.rs` for
//! one batch from members to answers, and `settling.rs` for calls to the outside.

mod batch;
mod erased;
mod handler;
mod handlers;
pub mod limits;
mod member;
mod outgoing;
mod outside;
mod participant;
mod places;
mod recorded;
mod retention;
mod settling;
mod store;
mod trace;
mod transact;

pub use handler::{
    Asked, CallError, Event, Handle, HandleOutside, HandlerError, Intending, Intent, PerCommand,
    Priority,
};
pub use participant::{Participant, Settings};
pub use recorded::{Recorded, RecordedEvent};
pub use store::{Entry, Key, Locked, Pruned, Store};
