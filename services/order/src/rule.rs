//! The rules of an order. Pure: no database, no clock.

use std::collections::HashSet;

use saga_core::Refusal;
use saga_proto::{
    Money,
    order::v1::{ConfirmOrder, CreateOrder, RejectOrder},
    types::v1::{Line, PricedLine},
};

/// Maximum number of lines of an order. The client's contract names this number.
pub const MAX_LINES: usize = 100;
/// Maximum length of a customer's name. The client's contract names this number.
pub const MAX_CUSTOMER_CHARS: usize = 200;
/// Maximum length of a SKU. The inventory service has the same limit.
pub const MAX_SKU_BYTES: usize = 64;
/// Maximum length of a stored reason. A client that cancels may send 500 characters, each of at
/// most four bytes.
pub const MAX_REASON_BYTES: usize = 2_000;

/// The status of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The order is in progress.
    Pending,
    /// The order was paid, and its stock is sold.
    Confirmed,
    /// The order was undone because a step failed.
    Rejected,
    /// The order was undone because the client cancelled it.
    Cancelled,
}

/// An existing order with the data that the rules need.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The order's status.
    pub status: Status,
    /// The lines that were ordered.
    pub lines: Vec<Line>,
}

/// The ways in which an order can end.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The order was paid, and its stock is sold.
    Confirmed {
        /// The unit price of each line, in the sequence of the lines and in the total's currency.
        unit_prices: Vec<i64>,
        /// The amount that was captured.
        total: Money,
    },
    /// The order was undone because a step failed.
    Rejected(Reason),
    /// The order was undone because the client cancelled it.
    Cancelled(Reason),
}

/// The reason why an order was undone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// A stable code, for programs.
    pub code: String,
    /// A sentence, for people.
    pub text: String,
}

/// Checks an order that is to be created.
///
/// # Errors
/// A refusal: the order must not be created.
pub fn create(command: &CreateOrder) -> Result<(), Refusal> {
    let CreateOrder { customer, lines, caller } = command;
    if caller.is_empty() || caller.contains('\0') {
        return Err(Refusal::new("INVALID_CALLER", "the order does not say whose request it was"));
    }
    if customer.is_empty()
        || customer.chars().count() > MAX_CUSTOMER_CHARS
        || customer.contains('\0')
    {
        let why = format!("a customer's name has 1 to {MAX_CUSTOMER_CHARS} characters");
        return Err(Refusal::new("INVALID_CUSTOMER", why));
    }
    let invalid = |why: String| Err(Refusal::new("INVALID_LINES", why));
    if lines.is_empty() || lines.len() > MAX_LINES {
        return invalid(format!("an order has 1 to {MAX_LINES} lines, not {}", lines.len()));
    }
    let mut skus = HashSet::new();
    for Line { sku, quantity } in lines {
        if sku.is_empty() || sku.len() > MAX_SKU_BYTES || sku.contains(char::is_control) {
            return invalid(format!("a line's SKU is not 1 to {MAX_SKU_BYTES} readable bytes"));
        }
        if *quantity < 1 {
            return invalid(format!("{quantity} of {sku} cannot be ordered"));
        }
        if !skus.insert(sku) {
            return invalid(format!("{sku} stands in more than one line"));
        }
    }
    Ok(())
}

/// Undoes an order. It changes `known` too, so that later commands of the same batch see the
/// change.
///
/// # Errors
/// A refusal: the order is unchanged.
pub fn reject(known: Option<&mut Known>, command: &RejectOrder) -> Result<End, Refusal> {
    let known = existing(known)?;
    let to = if command.cancelled { Status::Cancelled } else { Status::Rejected };
    known.status = end(known.status, to)?;
    let reason = Reason { code: storable(&command.reason_code), text: storable(&command.reason) };
    Ok(if command.cancelled { End::Cancelled(reason) } else { End::Rejected(reason) })
}

/// Confirms an order with the prices at which it was paid.
///
/// # Errors
/// A refusal: the order is unchanged.
pub fn confirm(known: Option<&mut Known>, command: &ConfirmOrder) -> Result<End, Refusal> {
    let known = existing(known)?;
    let status = end(known.status, Status::Confirmed)?;
    let (unit_prices, total) = prices(&known.lines, command)?;
    known.status = status;
    Ok(End::Confirmed { unit_prices, total })
}

/// Checks that an order has not ended yet, because it can end only once.
fn end(from: Status, to: Status) -> Result<Status, Refusal> {
    match (from, to) {
        (Status::Pending, Status::Confirmed | Status::Rejected | Status::Cancelled) => Ok(to),
        (Status::Pending, Status::Pending)
        | (Status::Confirmed | Status::Rejected | Status::Cancelled, _) => Err(Refusal::new(
            "ILLEGAL_TRANSITION",
            format!("an order that is {from:?} cannot become {to:?}"),
        )),
    }
}

fn existing(known: Option<&mut Known>) -> Result<&mut Known, Refusal> {
    known.ok_or_else(|| Refusal::new("NO_SUCH_ORDER", "there is no such order"))
}

/// Returns the prices and the total, if the prices are for exactly these lines and add up.
fn prices(ordered: &[Line], command: &ConfirmOrder) -> Result<(Vec<i64>, Money), Refusal> {
    let invalid = |why: &str| Refusal::new("INVALID_PRICES", why);
    let total = command.total.as_ref().ok_or_else(|| invalid("there is no total"))?;
    if !total.has_currency() {
        return Err(invalid("the total's currency is no ISO 4217 code"));
    }
    if command.lines.len() != ordered.len() {
        return Err(invalid("the lines are not those that were ordered"));
    }
    let mut sum = Money::new(0, total.currency.clone());
    let mut unit_prices = Vec::with_capacity(ordered.len());
    for (line, PricedLine { sku, quantity, unit_price }) in ordered.iter().zip(&command.lines) {
        if line.sku != *sku || line.quantity != *quantity {
            return Err(invalid("the lines are not those that were ordered"));
        }
        let price = unit_price
            .as_ref()
            .filter(|price| price.minor_units >= 0)
            .ok_or_else(|| invalid("a line has no price"))?;
        sum = price
            .times(*quantity)
            .and_then(|amount| sum.plus(&amount))
            .map_err(|error| invalid(&error.to_string()))?;
        unit_prices.push(price.minor_units);
    }
    if sum != *total {
        return Err(invalid("the lines do not add up to the total"));
    }
    Ok((unit_prices, sum))
}

/// Shortens and cleans a text so that any database can store it. Undoing an order must never fail
/// because of its reason.
pub(crate) fn storable(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_REASON_BYTES);
    text[..end].replace('\0', "")
}

#[cfg(test)]
mod tests;
