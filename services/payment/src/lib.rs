//! The payment service: holds, captures and refunds an order's money, by calling a payment provider
//! over HTTP.
//!
//! It moves no money itself and stores no card data: a card's token is passed from the command to
//! the provider, and is never written to a database. It knows nothing of sagas, only its four
//! commands. The participant kit ([`saga_kit`]) handles batches, recorded answers and replies.
//!
//! Read first: `rule.rs` (the rules of a payment), [`Cashier`] (the handlers), and
//! [`Provider`] (the client, behind its circuit breaker).

mod breaker;
pub mod grpc;
mod handlers;
mod provider;
mod rule;
pub mod table;
mod wire;

use std::sync::Arc;

use saga_kit::{Participant, Store};
use saga_proto::payment::v1::{AuthorisePayment, CapturePayment, RefundPayment, VoidAuthorisation};

pub use breaker::{Availability, BreakerSettings};
pub use handlers::Cashier;
pub use provider::{AskError, Provider, ProviderSettings, SettingsError};
pub use rule::{Entry, Kind, Payment, Refund, RefundState, State};
pub use table::postgres::MIGRATIONS;
pub use wire::{Call, Lost, Wire};

/// The participant's name, which is also the routing key of its queue.
pub const NAME: &str = "payment";

/// Creates the payment service as a participant of sagas. `store` must hold the service's tables.
pub fn participant<S>(store: S, provider: Arc<Provider>) -> Participant<S>
where
    S: Store,
    S::Tx: table::Payments,
{
    let cashier = Arc::new(Cashier::new(provider));
    Participant::new(NAME, store)
        .outside_action::<AuthorisePayment, _>(&cashier)
        .outside_compensation::<VoidAuthorisation, _>(&cashier)
        .outside_action::<CapturePayment, _>(&cashier)
        .outside_action::<RefundPayment, _>(&cashier)
}
