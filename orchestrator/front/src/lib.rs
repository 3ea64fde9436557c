//! The shop's front door: the gRPC services for its clients, on top of an orchestrator's desk.
//!
//! It validates calls, hands new orders, returns and cancels to the engine, and answers from the
//! sagas' committed rows. It forwards reads of orders and stock, and restocks, to the order and
//! inventory services. It decides nothing about a saga and runs no transaction. Its only state is a
//! short-lived cache of product pages (`product_pages.rs`). `saga_desk` provides connections,
//! callers, limits and the operators' services.
//!
//! Read first: [`Server::serve`], then `place.rs` (how a new order becomes a saga) and
//! `validate.rs` (request validation).

mod availability;
mod cancel;
mod catalogue;
mod forward;
mod front;
mod may;
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

pub use may::{LINES, STOCK, STOCK_PRICE};
pub use saga_desk::ServeError;
pub use serve::{Neighbours, Server};
pub use settings::{DEFAULT_CATALOGUE_CACHE, Settings};
