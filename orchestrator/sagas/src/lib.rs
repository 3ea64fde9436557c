//! The shop's sagas, one file each: what people change most.
//!
//! A saga is a plain struct and a list of steps. It knows which command goes out
//! when and what to keep of a reply; it knows nothing of queues, tables or time.
//!
//! Read first: [`PlaceOrder`].

mod place_order;

pub use place_order::{PlaceOrder, Quote, reason};
use saga_core::{Definition, Hosted, Saga};

/// Every definition that this binary hosts. `step_timeout_millis` overrides how
/// long the first answer is waited for.
#[must_use]
pub fn hosted(step_timeout_millis: Option<u64>) -> Hosted {
    Hosted::default().with(place_order(step_timeout_millis))
}

/// The definition that new orders begin under, as [`hosted`] hosts it.
#[must_use]
pub fn place_order(step_timeout_millis: Option<u64>) -> Definition<PlaceOrder> {
    match step_timeout_millis {
        Some(millis) => PlaceOrder::steps().with_step_timeout(millis),
        None => PlaceOrder::steps(),
    }
}
