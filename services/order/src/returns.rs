//! The rules of returns: which pieces of an order may be returned, and what they are worth. Pure:
//! no database, no clock.

use std::collections::HashSet;

use saga_core::{Refusal, SagaId};
use saga_proto::{
    Money,
    order::v1::OpenReturn,
    types::v1::{Line, PricedLine},
};

use crate::rule::{Status, storable};

/// An order with the data that the rules of returns need.
#[derive(Clone, Debug, PartialEq)]
pub struct Returnable {
    /// The caller that placed the order.
    pub caller: String,
    /// The order's status.
    pub status: Status,
    /// The currency of its prices. It is empty unless the order is confirmed.
    pub currency: String,
    /// The order's lines, in their original sequence.
    pub lines: Vec<Sold>,
}

/// A line of an order: `quantity ≥ held + returned`, and neither is negative.
#[derive(Clone, Debug, PartialEq)]
pub struct Sold {
    /// Stock keeping unit.
    pub sku: String,
    /// Number of pieces that were ordered.
    pub quantity: i64,
    /// Price of one piece. It is 0 unless the order is confirmed.
    pub unit_price: i64,
    /// Pieces that open returns hold.
    pub held: i64,
    /// Pieces that have been returned.
    pub returned: i64,
}

/// A return. Only its state ever changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Return {
    /// The id of the return, which is also its saga's id.
    pub id: SagaId,
    /// The id of the order.
    pub order: SagaId,
    /// The state of the return.
    pub state: ReturnState,
    /// The client's reason, in the client's words.
    pub reason: String,
    /// What the pieces are worth, in the minor unit of the order's currency.
    pub amount: i64,
    /// The pieces that are returned.
    pub pieces: Vec<Piece>,
}

/// The pieces of one line that are returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Number of the line in the order, from 1.
    pub line_no: i32,
    /// Number of pieces.
    pub quantity: i64,
}

/// The state of a return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnState {
    /// The order holds the pieces for this return. This is the semantic lock.
    Open,
    /// The pieces were returned and refunded.
    Done,
    /// The order no longer holds the pieces for this return.
    Rejected,
}

impl Sold {
    fn left(&self) -> i64 {
        self.quantity - self.held - self.returned
    }
}

impl Returnable {
    /// Returns the lines of a return, with the prices at which the order was paid.
    #[must_use]
    pub fn priced(&self, pieces: &[Piece]) -> Vec<PricedLine> {
        let line = |piece: &Piece| {
            let sold = self.line(piece)?;
            let unit_price = Some(Money::new(sold.unit_price, self.currency.clone()));
            Some(PricedLine { sku: sold.sku.clone(), quantity: piece.quantity, unit_price })
        };
        pieces.iter().filter_map(line).collect()
    }

    /// Returns true if every piece has been returned.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.lines.iter().all(|line| line.returned == line.quantity)
    }

    fn line(&self, piece: &Piece) -> Option<&Sold> {
        self.lines.get(place(piece)?)
    }
}

fn place(piece: &Piece) -> Option<usize> {
    usize::try_from(piece.line_no).ok()?.checked_sub(1)
}

/// Opens a return, and holds its pieces. It changes `order` too, so that later commands of the same
/// batch see the change.
///
/// # Errors
/// A refusal: the order is unchanged.
pub fn open(
    order: Option<&mut Returnable>,
    id: SagaId,
    order_id: SagaId,
    command: &OpenReturn,
) -> Result<Return, Refusal> {
    // Another caller's order looks exactly like one that does not exist.
    let order = order
        .filter(|order| order.caller == command.caller)
        .ok_or_else(|| Refusal::new("NO_SUCH_ORDER", "there is no such order"))?;
    match order.status {
        Status::Confirmed => {}
        Status::Pending | Status::Rejected | Status::Cancelled => {
            let why = format!("an order that is {:?} cannot be returned", order.status);
            return Err(Refusal::new("NOT_CONFIRMED", why));
        }
    }
    let pieces = match command.lines.as_slice() {
        [] => everything(order)?,
        lines => asked(order, lines)?,
    };
    let mut amount: i64 = 0;
    for piece in &pieces {
        let price = order.line(piece).map_or(0, |line| line.unit_price);
        // The return is worth at most the order's total, which fits into 64 bits.
        amount = price
            .checked_mul(piece.quantity)
            .and_then(|worth| amount.checked_add(worth))
            .ok_or_else(|| Refusal::new("AMOUNT_OVERFLOW", "the amount is too large"))?;
    }
    for piece in &pieces {
        if let Some(line) = place(piece).and_then(|place| order.lines.get_mut(place)) {
            line.held += piece.quantity;
        }
    }
    let reason = storable(&command.reason);
    Ok(Return { id, order: order_id, state: ReturnState::Open, reason, amount, pieces })
}

/// Ends an open return: its pieces are returned, or they are released.
///
/// # Errors
/// A refusal: nothing is changed.
pub fn end(order: &mut Returnable, known: &mut Return, to: ReturnState) -> Result<(), Refusal> {
    match (known.state, to) {
        (ReturnState::Open, ReturnState::Done | ReturnState::Rejected) => {}
        (ReturnState::Open, ReturnState::Open) | (ReturnState::Done | ReturnState::Rejected, _) => {
            let why = format!("a return that is {:?} cannot become {to:?}", known.state);
            return Err(Refusal::new("ILLEGAL_TRANSITION", why));
        }
    }
    for piece in &known.pieces {
        if let Some(line) = place(piece).and_then(|place| order.lines.get_mut(place)) {
            line.held -= piece.quantity;
            match to {
                ReturnState::Done => line.returned += piece.quantity,
                ReturnState::Open | ReturnState::Rejected => {}
            }
        }
    }
    known.state = to;
    Ok(())
}

/// Refuses a command for a return that does not exist.
#[must_use]
pub fn no_such_return() -> Refusal {
    Refusal::new("NO_SUCH_RETURN", "there is no such return")
}

fn everything(order: &Returnable) -> Result<Vec<Piece>, Refusal> {
    let left = order.lines.iter().zip(1..).filter(|(line, _)| line.left() > 0);
    let pieces: Vec<Piece> =
        left.map(|(line, line_no)| Piece { line_no, quantity: line.left() }).collect();
    if pieces.is_empty() {
        let why = "everything has come back, or is about to";
        return Err(Refusal::new("NOTHING_LEFT", why));
    }
    Ok(pieces)
}

fn asked(order: &Returnable, lines: &[Line]) -> Result<Vec<Piece>, Refusal> {
    let invalid = |why: String| Refusal::new("INVALID_LINES", why);
    let mut skus = HashSet::new();
    let mut pieces = Vec::with_capacity(lines.len());
    for Line { sku, quantity } in lines {
        if *quantity < 1 {
            return Err(invalid(format!("{quantity} of {sku} cannot be returned")));
        }
        if !skus.insert(sku) {
            return Err(invalid(format!("{sku} stands in more than one line")));
        }
        let found = order.lines.iter().zip(1..).find(|(line, _)| line.sku == *sku);
        let Some((line, line_no)) = found else {
            return Err(Refusal::new("NOT_ORDERED", format!("{sku} is not in the order")));
        };
        if *quantity > line.left() {
            let why = format!("{quantity} of {sku} asked, {} can still be returned", line.left());
            return Err(Refusal::new("NOT_RETURNABLE", why));
        }
        pieces.push(Piece { line_no, quantity: *quantity });
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests;
