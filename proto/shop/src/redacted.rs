//! Implements `Debug` for messages with a payment token, so that the token is not shown.

use std::fmt;

use crate::{payment::v1::AuthorisePayment, shop::v1::PlaceOrderRequest};

impl fmt::Debug for AuthorisePayment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorisePayment").field("amount", &self.amount).finish_non_exhaustive()
    }
}

impl fmt::Debug for PlaceOrderRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlaceOrderRequest")
            .field("customer", &self.customer)
            .field("lines", &self.lines)
            .field("expected_total", &self.expected_total)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}
