//! The engine: the loops that drive sagas, and their ports.
//!
//! The engine takes the inputs that have arrived: requests, replies, and sagas that are due. It
//! lets [`saga_core`] decide on all of them in one transaction, and then publishes the commands. It
//! knows no particular saga, database or broker. Any number of engines run side by side on one
//! store; none of them leads.
//!
//! Read first: [`Engine::run`], then `fold.rs` (inputs to decisions) and
//! [`SagaStore`] (one transaction for each batch).

mod alert;
mod answerer;
mod carry_out;
mod census;
mod engine;
mod error;
mod filter;
mod fold;
mod in_flight;
pub mod limits;
mod need;
mod outgoing;
mod poison;
mod ports;
mod quarantine;
mod replies;
mod requests;
mod retention;
mod shared;
mod trace;
mod wake;
mod watch;
mod write;

pub use engine::{Engine, Handle};
pub use error::RequestError;
pub use filter::{ListFilter, Place};
pub use need::Need;
pub use ports::{
    Admission, Census, Headcount, IdempotencyKey, NewQuarantined, SagaReads, SagaStore,
};
pub use quarantine::{
    desk::{HandleRequest, Handling, Hindrance, Outcome},
    row::{Act, Handled, Inspected, QuarantineFilter, QuarantineState, Quarantined},
};
pub use requests::{NewSaga, Placed, Preview, Requests};
pub use retention::{Horizon, Pruned, Range, Retention};
pub use watch::{Seen, Watched, Watches};
pub use write::Write;
