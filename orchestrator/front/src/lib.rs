//! The shop's front door: the calls of its clients over gRPC, at the desk of an orchestrator.
//!
//! It validates calls, hands new orders, returns and cancels to the engine, and answers from the
//! sagas' committed rows. Calls that concern orders and stock it forwards to the order and inventory
//! services. It decides nothing about a saga and runs no transaction. It holds no state of its own,
//! except product pages for a moment (`product_pages.rs`). Connections, callers, limits and the
//! operators' services are `saga_desk`'s.
//!
//! Read first: [`Server::serve`], then `place.rs` (the way of a new order) and `validate.rs`
//! (request validation).

mod availability;
mod cancel;
mod catalogue;
mod forward;
mod front;
mod orders;
mod place;
mod product_pages;
mod read;
mod returns;
mod serve;
mod settings;
mod standing;
mod validate;
mod watch;

pub use saga_desk::ServeError;
pub use serve::{Neighbours, Server};
pub use settings::{DEFAULT_CATALOGUE_CACHE, Settings};
