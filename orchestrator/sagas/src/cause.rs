//! Explains why a saga was undone to the client that began it.

use saga_core::{Cause, Refusal};

/// Returns a stable code and a sentence. `what` names the request: an order, a return.
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
        // The operator's name and reason are only for the saga's history.
        Cause::Operator(_) => ("WITHDRAWN".to_owned(), format!("the shop took the {what} back")),
    }
}
