//! The one front door: what clients and operators call over gRPC.
//!
//! It checks what comes in, hands new orders and cancels to the engine, answers
//! from the sagas' committed rows, and forwards to the order and inventory
//! services what is theirs. It decides nothing about a saga, runs no transaction
//! and holds no state of its own but product pages for a moment (`product_pages.rs`): a caller who goes away cancels nothing, and
//! any number of servers stand side by side.
//!
//! Read first: [`Server::serve`], then `place.rs` (what a new order goes through)
//! and `validate.rs` (what is let in).

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
