//! The shop's sagas, one file for each. These are the files that people change most.
//!
//! A saga is a plain struct and a list of steps. They define when each command is sent, and which
//! data of a reply is kept. A saga knows nothing of queues, tables or time.
//!
//! Read first: [`PlaceOrder`], then [`ReturnOrder`].

mod cause;
mod place_order;
mod return_order;

pub use cause::reason;
pub use place_order::{PlaceOrder, Quote};
pub use return_order::{Opened, ReturnOrder};
use saga_core::{Definition, Hosted, Saga};

/// Returns every definition that this binary hosts, in all its versions. `step_timeout_millis`
/// overrides how long a step waits for its first answer.
#[must_use]
pub fn hosted(step_timeout_millis: Option<u64>) -> Hosted {
    fn of<S: Saga>(step_timeout_millis: Option<u64>) -> Definition<S> {
        match step_timeout_millis {
            Some(millis) => S::steps().with_step_timeout(millis),
            None => S::steps(),
        }
    }
    Hosted::default()
        .with(of::<PlaceOrder>(step_timeout_millis))
        .with(of::<ReturnOrder>(step_timeout_millis))
}
