//! Request validation. It is pure, and reports all mistakes, not only the first one. Its errors
//! never repeat a value, which may be long or secret.

use std::collections::HashSet;

use saga_core::SagaId;
use saga_desk::{
    Violations, status,
    validate::{MAX_NAME_CHARS, MAX_REASON_CHARS, is_printable, is_text},
};
use saga_proto::{
    Money,
    inventory::v1::ReceiveStockRequest,
    order::v1::OrderStatus,
    shop::v1::{PlaceOrderRequest, ReturnOrderRequest},
    types::v1::Line,
};
use tonic::Status;

/// Maximum number of characters of a payment token.
const MAX_TOKEN_CHARS: usize = 255;
/// Maximum number of characters of a SKU.
const MAX_SKU_CHARS: usize = 64;
/// Maximum number of lines of an order. Their products are all locked together.
const MAX_LINES: usize = 100;
/// Maximum quantity in one line. It is small enough that the sum of an order's quantities stays far
/// below the limit of 64 bits.
const MAX_QUANTITY: i64 = 1_000_000;
/// Maximum quantity in one receipt.
const MAX_RECEIPT: i64 = 1_000_000_000;

/// Checks for the fields that several of the shop's requests have.
trait Goods {
    fn sku(&mut self, field: String, sku: &str);
    fn money(&mut self, field: &str, money: &Money);
    fn lines(&mut self, lines: &[Line]);
    fn each_line(&mut self, lines: &[Line]);
}

impl Goods for Violations {
    fn sku(&mut self, field: String, sku: &str) {
        if !is_sku(sku) {
            self.add(field, "must be 1 to 64 characters of a-z, 0-9, '.', '_', '-'");
        }
    }

    fn money(&mut self, field: &str, money: &Money) {
        if money.minor_units < 0 {
            self.add(format!("{field}.minor_units"), "must not be negative");
        }
        if !money.has_currency() {
            self.add(format!("{field}.currency"), "must be an ISO 4217 code: three capitals");
        }
    }

    fn lines(&mut self, lines: &[Line]) {
        if lines.is_empty() || lines.len() > MAX_LINES {
            self.add("lines", "must be 1 to 100 lines");
            return;
        }
        self.each_line(lines);
    }

    fn each_line(&mut self, lines: &[Line]) {
        let mut seen = HashSet::new();
        for (index, line) in lines.iter().enumerate() {
            self.sku(format!("lines[{index}].sku"), &line.sku);
            if !seen.insert(&line.sku) {
                self.add(format!("lines[{index}].sku"), "stands in an earlier line already");
            }
            if !(1..=MAX_QUANTITY).contains(&line.quantity) {
                self.add(format!("lines[{index}].quantity"), "must be 1 to 1,000,000");
            }
        }
    }
}

/// Checks an order that is to be placed.
pub(crate) fn place_order(order: &PlaceOrderRequest) -> Result<(), Status> {
    let mut wrong = Violations::default();
    wrong.key(&order.idempotency_key);
    if order.customer.is_empty() || !is_text(&order.customer, MAX_NAME_CHARS) {
        wrong.add("customer", "must be 1 to 200 characters, none of them a control character");
    }
    wrong.lines(&order.lines);
    if !is_printable(&order.payment_token, MAX_TOKEN_CHARS) {
        wrong.add("payment_token", "must be 1 to 255 printable ASCII characters");
    } else if holds_card_number(&order.payment_token) {
        wrong.add("payment_token", "must be the provider's opaque token, never a card number");
    }
    if let Some(total) = &order.expected_total {
        wrong.money("expected_total", total);
    }
    wrong.none_or_err()
}

/// Checks a return, and gives the order's id. An empty list of lines means all lines.
pub(crate) fn return_order(asked: &ReturnOrderRequest) -> Result<SagaId, Status> {
    let mut wrong = Violations::default();
    wrong.key(&asked.idempotency_key);
    if asked.lines.len() > MAX_LINES {
        wrong.add("lines", "must be at most 100 lines");
    } else {
        wrong.each_line(&asked.lines);
    }
    if !is_text(&asked.reason, MAX_REASON_CHARS) {
        wrong.add("reason", "must be at most 500 characters, none of them a control character");
    }
    let order = asked.order_id.parse();
    if order.is_err() {
        wrong.add("order_id", "must be a UUID in lower case with hyphens");
    }
    wrong.none_or_err()?;
    order.map_err(|_| status::invalid_field("order_id", "must be a UUID"))
}

/// Checks a receipt of goods.
pub(crate) fn restock(receipt: &ReceiveStockRequest) -> Result<(), Status> {
    let mut wrong = Violations::default();
    wrong.sku("sku".to_owned(), &receipt.sku);
    if !(1..=MAX_RECEIPT).contains(&receipt.quantity) {
        wrong.add("quantity", "must be 1 to 1,000,000,000");
    }
    wrong.key(&receipt.idempotency_key);
    if !is_text(&receipt.name, MAX_NAME_CHARS) {
        wrong.add("name", "must be at most 200 characters, none of them a control character");
    }
    if let Some(price) = &receipt.price {
        wrong.money("price", price);
    }
    wrong.none_or_err()
}

/// Checks the reason for a cancel, which the order's history will keep.
pub(crate) fn cancel_reason(reason: &str) -> Result<String, Status> {
    if !is_text(reason, MAX_REASON_CHARS) {
        let why = "must be at most 500 characters, none of them a control character";
        return Err(status::invalid_field("reason", why));
    }
    Ok(if reason.is_empty() { "cancelled by the client" } else { reason }.to_owned())
}

/// Checks a filter of orders by customer and status. Returns the status to filter by.
/// `Unspecified` means all.
pub(crate) fn order_filter(customer: &str, status: i32) -> Result<OrderStatus, Status> {
    let mut wrong = Violations::default();
    if !is_text(customer, MAX_NAME_CHARS) {
        wrong.add("customer", "must be at most 200 characters, none of them a control character");
    }
    let Ok(status) = OrderStatus::try_from(status) else {
        wrong.add("status", "is none that an order can have");
        return Err(saga_desk::status::invalid(wrong));
    };
    wrong.none_or_err().map(|()| status)
}

pub(crate) fn is_sku(sku: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
    (1..=MAX_SKU_CHARS).contains(&sku.len()) && sku.bytes().all(allowed)
}

/// Returns true if a run of 13 to 19 digits has a card number's check digit. Searches the text as
/// written, and once more without spaces and dashes.
fn holds_card_number(text: &str) -> bool {
    let bare: String = text.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
    [text, bare.as_str()].iter().any(|text| {
        text.split(|c: char| !c.is_ascii_digit())
            .any(|run| (13..=19).contains(&run.len()) && has_check_digit(run))
    })
}

/// Checks the last digit of a number by Luhn's formula.
fn has_check_digit(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0');
            match (place % 2, digit) {
                (0, digit) => digit,
                (_, digit @ 0..=4) => 2 * digit,
                (_, digit) => 2 * digit - 9,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_are_found_however_they_are_written() {
        for number in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "tok_4111111111111111",
            "tok-4111-1111-1111-1111-x",
            "378282246310005",
            "6304000000000000",
        ] {
            assert!(holds_card_number(number), "{number}");
        }
    }

    #[test]
    fn opaque_tokens_are_no_card_numbers() {
        for token in
            ["tok_visa", "4111111111111112", "123456789012", "tok_01890a5dac96774bbcceb302"]
        {
            assert!(!holds_card_number(token), "{token}");
        }
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_and_within_a_bound() {
        let mut order = PlaceOrderRequest { payment_token: "é".into(), ..Default::default() };
        let wrong = place_order(&order).expect_err("nothing is right");
        assert_eq!(wrong.message(), "not valid: idempotency_key, customer, lines, payment_token");
        order.lines = vec![Line::default(); 100];
        let wrong = place_order(&order).expect_err("nothing is right");
        assert!(wrong.details().len() < 4_096, "{} bytes", wrong.details().len());
    }
}
