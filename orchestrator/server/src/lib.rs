//! The one front door: the calls of clients and operators over gRPC.
//!
//! It validates calls, hands new orders and cancels to the engine, and answers from the sagas'
//! committed rows. Calls that concern orders and stock it forwards to the order and inventory
//! services. It decides nothing about a saga and runs no transaction. It holds no state of its own,
//! except product pages for a moment (`product_pages.rs`). So a caller who goes away cancels
//! nothing, and any number of servers can run side by side.
//!
//! Read first: [`Server::serve`], then `place.rs` (the way of a new order) and `validate.rs`
//! (request validation).

mod availability;
mod caller;
mod cancel;
mod catalogue;
mod connections;
mod describe;
mod forward;
mod front;
mod intervene;
mod intervene_all;
mod metadata;
mod metered;
mod orders;
mod page;
mod place;
mod product_pages;
mod quarantine;
mod read;
mod redact;
#[cfg(test)]
mod redact_tests;
mod returns;
mod sagas;
mod serve;
mod settings;
mod standing;
mod status;
mod validate;
mod violations;
mod wait;
mod watch;

pub use caller::Caller;
pub use serve::{Neighbours, ServeError, Server};
pub use settings::{DEFAULT_CATALOGUE_CACHE, Settings};
