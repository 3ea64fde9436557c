//! Deciding sagas.
//!
//! This crate says what a saga is and what happens to one next. It is pure: no
//! I/O, no clock, no randomness, no async. Time is an argument, ids are derived,
//! jitter is hashed from the command's id. It knows neither the shop's sagas
//! nor any participant, database or broker.
//!
//! Read first: [`Steps`] (how a saga is written down), [`turn`] (the one
//! function that decides) and [`admit`] (what a participant does with a command
//! that it may have seen before).

mod admission;
mod cause;
mod command;
mod decision;
mod definition;
mod failure;
mod hosted;
mod id;
mod instance;
mod intervention;
pub mod limits;
mod retry;
mod steps;
mod stuck;
mod turn;
mod watermark;

pub use admission::{Admission, Part, Record, admit};
pub use cause::{Cause, Signed, Wish};
pub use command::{Answer, Command, DomainEvent, OutgoingCommand, Payload, Refusal, TypeName};
pub use decision::{Admitted, Cancelled, Decision, Input, Reply, ReplyOutcome, Verdict};
pub use definition::{Definition, Kind, Saga};
pub use failure::Failure;
pub use hosted::{Hosted, HostedDefinition, Start, remedies};
pub use id::{CommandId, Direction, InvalidId, SagaId, Timestamp};
pub use instance::{
    Ended, Happening, HistoryEntry, Instance, Opener, Phase, Sending, State, StateError, StepState,
};
pub use intervention::{Intervened, Intervention, Obstacle, Remedy, Stated};
pub use retry::RetryPolicy;
pub use steps::{AfterPivot, BeforePivot, Compensated, Step, Steps, Together, step, together};
pub use stuck::{Stuck, StuckReason};
pub use turn::{start, turn};
pub use watermark::Watermark;
