//! The participant kit: a service writes its business rule, and the kit does the rest.
//!
//! The kit consumes a participant's commands, runs all that have arrived in one transaction,
//! records each answer under the command's id, and replies. A service provides handlers: [`Handle`]
//! for effects in its own database, and [`HandleOutside`] for effects in the outside world. The kit
//! knows no particular database, broker, service or saga.
//!
//! Read first: [`Handle`], [`Participant`] and [`Store`]. Then `batch.rs` follows a batch from its
//! members to their answers, and `settling.rs` the calls to the outside world.

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
