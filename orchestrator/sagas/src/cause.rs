//! Why a saga was undone, for whoever asked for it.

use saga_core::{Cause, Refusal};

/// A stable code, and a sentence. `what` was asked for: an order, a return.
#[must_use]
pub fn reason(cause: &Cause, what: &str) -> (String, String) {
    match cause {
        Cause::Refused { refusal: Refusal { code, message }, .. } => {
            (code.clone(), message.clone())
        }
        Cause::Unanswered { step } => {
            ("UNAVAILABLE".to_owned(), format!("{step} was not answered in time"))
        }
        Cause::Deadline => {
            ("DEADLINE".to_owned(), format!("the {what} could not be completed in time"))
        }
        Cause::Cancelled(wish) => ("CANCELLED".to_owned(), wish.reason.clone()),
        // Who it was, and in which words, is for the saga's history.
        Cause::Operator(_) => ("WITHDRAWN".to_owned(), format!("the shop took the {what} back")),
    }
}
