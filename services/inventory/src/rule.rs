//! The rules of stock. Pure: no database, no clock.

use std::collections::{BTreeMap, HashSet};

use saga_core::Refusal;
use saga_proto::{
    Money, MoneyError,
    inventory::v1::ReserveStock,
    types::v1::{Line, PricedLine},
};

/// Maximum number of lines of a reservation. Orders have the same limit.
pub const MAX_LINES: usize = 100;
/// Maximum length of a SKU.
pub const MAX_SKU_BYTES: usize = 64;

/// Products that are locked, by SKU.
pub type Stock = BTreeMap<String, Product>;

/// A product of the catalogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// Stock keeping unit.
    pub sku: String,
    /// The product's name, for people.
    pub name: String,
    /// Price of one piece.
    pub price: Money,
    /// The product's stock.
    pub levels: Levels,
}

/// The stock of a product: `received = available + reserved + sold`, and none of them is
/// negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// All pieces that were ever received.
    pub received: i64,
    /// Pieces that can be reserved.
    pub available: i64,
    /// Pieces in open reservations.
    pub reserved: i64,
    /// Pieces that are sold.
    pub sold: i64,
}

/// The pieces of one product that were reserved for an order, and how many of them were returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// Stock keeping unit.
    pub sku: String,
    /// Number of pieces that were reserved. Either all of them are sold or none.
    pub quantity: i64,
    /// Number of these pieces that were returned.
    pub returned: i64,
    /// The state of the reservation.
    pub state: SaleState,
}

/// The state of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaleState {
    /// The reservation has not ended.
    Open,
    /// The stock was released.
    Released,
    /// The stock was sold.
    Committed,
}

/// The reasons why goods are not taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The goods can never be taken back. The refusal is sent as the answer.
    Refused(Refusal),
    /// The goods cannot be taken back yet. The order is confirmed while its stock is being sold, so
    /// the sale may still follow.
    NotSoldYet,
    /// The tables contradict each other, as [`Imbalance`] explains.
    Imbalance(Imbalance),
}

/// The reserved goods, with their prices.
#[derive(Clone, Debug, PartialEq)]
pub struct Promise {
    /// The lines with the catalogue's prices.
    pub lines: Vec<PricedLine>,
    /// The sum of the lines.
    pub total: Money,
}

/// The tables contradict each other: more is to be taken from a product's stock than it has. This
/// product must not be changed before a person has looked at it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stock of {sku} does not balance")]
pub struct Imbalance {
    /// The product's SKU.
    pub sku: String,
}

/// Returns true if a text has the form of a SKU: 1 to 64 of `a-z 0-9 . _ -`.
#[must_use]
pub fn is_sku(text: &str) -> bool {
    (1..=MAX_SKU_BYTES).contains(&text.len())
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

/// Reserves stock for every line, or for none.
///
/// # Errors
/// A refusal: the stock is unchanged.
pub fn reserve(stock: &mut Stock, command: &ReserveStock) -> Result<Promise, Refusal> {
    check_form(&command.lines)?;
    let promise = quote(stock, &command.lines)?;
    if let Some(expected) = &command.expected_total
        && *expected != promise.total
    {
        return Err(Refusal::new(
            "PRICE_CHANGED",
            format!("the total is {}, not {}", text(&promise.total), text(expected)),
        ));
    }
    for Line { sku, quantity } in &command.lines {
        let Levels { available, reserved, .. } = &mut known(stock, sku)?.levels;
        // Neither can overflow: `quote` found this much available, and both available and
        // reserved are parts of received.
        *available -= quantity;
        *reserved += quantity;
    }
    Ok(promise)
}

/// Releases the stock of a reservation's lines.
///
/// # Errors
/// [`Imbalance`]; the stock must not be saved.
pub fn release(stock: &mut Stock, lines: &[Line]) -> Result<(), Imbalance> {
    close(stock, lines, |levels| &mut levels.available)
}

/// Marks the stock of a reservation's lines as sold.
///
/// # Errors
/// [`Imbalance`]; the stock must not be saved.
pub fn commit(stock: &mut Stock, lines: &[Line]) -> Result<(), Imbalance> {
    close(stock, lines, |levels| &mut levels.sold)
}

/// Takes back goods that were sold for an order. `sales` are all sales of that order. It changes
/// both `stock` and `sales`, so that later commands of the same batch see the change.
///
/// # Errors
/// [`NotTaken`]. Sales and stock are unchanged, except after an imbalance: then neither may be
/// saved.
pub fn take_back(stock: &mut Stock, sales: &mut [Sale], lines: &[Line]) -> Result<(), NotTaken> {
    check_form(lines).map_err(NotTaken::Refused)?;
    let refused = |code, why: String| Err(NotTaken::Refused(Refusal::new(code, why)));
    for Line { sku, quantity } in lines {
        match sales.iter().find(|sale| sale.sku == *sku) {
            Some(sale) if sale.state == SaleState::Open => return Err(NotTaken::NotSoldYet),
            Some(Sale { quantity: sold, returned, state: SaleState::Committed, .. }) => {
                let left = sold - returned;
                if *quantity > left {
                    let why = format!("{quantity} of {sku} to take back, {left} are sold");
                    return refused("EXCEEDS_SOLD", why);
                }
            }
            Some(_) | None => {
                return refused("NOT_SOLD", format!("no {sku} was sold under this order"));
            }
        }
    }
    for Line { sku, quantity } in lines {
        let imbalance = || NotTaken::Imbalance(Imbalance { sku: sku.clone() });
        let levels = &mut stock.get_mut(sku).ok_or_else(imbalance)?.levels;
        if levels.sold < *quantity {
            return Err(imbalance());
        }
        levels.sold -= quantity;
        levels.available = levels.available.checked_add(*quantity).ok_or_else(imbalance)?;
        if let Some(sale) = sales.iter_mut().find(|sale| sale.sku == *sku) {
            sale.returned += quantity;
        }
    }
    Ok(())
}

/// Refuses to sell stock for which there is no reservation.
#[must_use]
pub fn no_reservation() -> Refusal {
    Refusal::new("NO_RESERVATION", "there is no open reservation to sell")
}

fn close(
    stock: &mut Stock,
    lines: &[Line],
    to: impl Fn(&mut Levels) -> &mut i64,
) -> Result<(), Imbalance> {
    for Line { sku, quantity } in lines {
        let imbalance = || Imbalance { sku: sku.clone() };
        let levels = &mut stock.get_mut(sku).ok_or_else(imbalance)?.levels;
        if *quantity < 1 || levels.reserved < *quantity {
            return Err(imbalance());
        }
        levels.reserved -= quantity;
        let to = to(levels);
        *to = to.checked_add(*quantity).ok_or_else(imbalance)?;
    }
    Ok(())
}

fn check_form(lines: &[Line]) -> Result<(), Refusal> {
    let invalid = |why: String| Err(Refusal::new("INVALID_LINES", why));
    if lines.is_empty() || lines.len() > MAX_LINES {
        return invalid(format!("there are 1 to {MAX_LINES} lines, not {}", lines.len()));
    }
    let mut skus = HashSet::new();
    for Line { sku, quantity } in lines {
        if *quantity < 1 {
            return invalid(format!("{quantity} of {sku} cannot be had"));
        }
        if !skus.insert(sku) {
            return invalid(format!("{sku} stands in more than one line"));
        }
    }
    Ok(())
}

/// Finds the prices of the lines, and checks that all of them are in stock.
fn quote(stock: &mut Stock, lines: &[Line]) -> Result<Promise, Refusal> {
    let mut total: Option<Money> = None;
    let mut priced = Vec::with_capacity(lines.len());
    for Line { sku, quantity } in lines {
        let Product { price, levels, .. } = known(stock, sku)?;
        if levels.available < *quantity {
            return Err(Refusal::new(
                "OUT_OF_STOCK",
                format!("{quantity} of {sku} wanted, {} available", levels.available),
            ));
        }
        let amount = price.times(*quantity).map_err(refuse)?;
        total = Some(match total {
            None => amount,
            Some(total) => total.plus(&amount).map_err(refuse)?,
        });
        priced.push(PricedLine {
            sku: sku.clone(),
            quantity: *quantity,
            unit_price: Some(price.clone()),
        });
    }
    let total = total.ok_or_else(|| Refusal::new("INVALID_LINES", "there are no lines"))?;
    Ok(Promise { lines: priced, total })
}

fn known<'a>(stock: &'a mut Stock, sku: &str) -> Result<&'a mut Product, Refusal> {
    stock.get_mut(sku).ok_or_else(|| {
        Refusal::new("UNKNOWN_SKU", format!("there is no product {sku:?} in the catalogue"))
    })
}

fn refuse(error: MoneyError) -> Refusal {
    match error {
        MoneyError::Overflow => {
            Refusal::new("AMOUNT_OVERFLOW", "the lines' total is too large an amount")
        }
        MoneyError::CurrencyMismatch => {
            Refusal::new("CURRENCY_MISMATCH", "the lines are priced in different currencies")
        }
    }
}

fn text(money: &Money) -> String {
    format!("{} {} (minor units)", money.minor_units, money.currency)
}

#[cfg(test)]
mod tests;
