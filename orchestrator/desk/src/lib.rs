//! An orchestrator's gRPC server, for any sagas.
//!
//! It identifies callers, enforces limits, counts and traces calls, and answers the operators'
//! services (`saga.operations.v1`) from the sagas' committed rows. A front door adds the services
//! of its own clients: see [`Server::with`]. The desk decides nothing about a saga and runs no
//! transaction. It has no state of its own: a caller who disconnects cancels nothing, and any
//! number of servers can run side by side.
//!
//! Read first: [`Server`], then `sagas.rs` (the operators' view) and `intervene.rs`.

mod caller;
mod connections;
mod desk;
mod gate;
mod intervene;
mod intervene_all;
mod metered;
mod quarantine;
mod redact;
#[cfg(test)]
mod redact_tests;
mod sagas;
mod serve;
mod settings;
mod violations;
mod wait;

pub mod describe;
pub mod metadata;
pub mod page;
pub mod status;
pub mod validate;

pub use caller::{Anonymous, Caller};
pub use desk::Desk;
pub use gate::LINES;
pub use metered::Metered;
pub use serve::{ServeError, Server};
pub use settings::{RETRY_AFTER, Settings, UPDATES_AHEAD};
pub use violations::Violations;
