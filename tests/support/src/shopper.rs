//! What the tests' customers order, and how such orders must end.

use saga_proto::{order::v1::OrderStatus, shop::v1::PlaceOrderRequest, types::v1::Line};

/// A card that is accepted.
pub const GOOD_CARD: &str = "tok_approved";
/// A card that is accepted late.
pub const SLOW_CARD: &str = "tok_slow";

/// Returns an order of one product. It does not wait for its end.
#[must_use]
pub fn order(key: &str, sku: &str, quantity: i64, card: &str) -> PlaceOrderRequest {
    PlaceOrderRequest {
        idempotency_key: key.to_owned(),
        customer: "alice".to_owned(),
        lines: vec![Line { sku: sku.to_owned(), quantity }],
        payment_token: card.to_owned(),
        ..PlaceOrderRequest::default()
    }
}

/// Returns the same order with a caller that waits for its end.
#[must_use]
pub fn waiting(order: PlaceOrderRequest) -> PlaceOrderRequest {
    PlaceOrderRequest { wait: true, ..order }
}

/// Returns the card for the `n`th order of a load. Most cards are accepted. Some are declined, and
/// with some the provider misbehaves.
#[must_use]
pub fn mixed_card(n: usize) -> &'static str {
    match n % 40 {
        3 | 13 | 23 => "tok_declined",
        33 => "tok_insufficient_funds",
        7 => "tok_capture_declined",
        17 => "tok_answer_lost",
        27 => "tok_capture_answer_lost",
        9 | 29 => SLOW_CARD,
        _ => GOOD_CARD,
    }
}

/// Returns the end of an order that is paid with this card, if nothing else is wrong with it: its
/// status, and the code of the reason.
#[must_use]
pub fn end_of(card: &str) -> (OrderStatus, &'static str) {
    match card {
        "tok_declined" => (OrderStatus::Rejected, "CARD_DECLINED"),
        "tok_insufficient_funds" => (OrderStatus::Rejected, "INSUFFICIENT_FUNDS"),
        "tok_capture_declined" => (OrderStatus::Rejected, "CAPTURE_DECLINED"),
        _ => (OrderStatus::Confirmed, ""),
    }
}
