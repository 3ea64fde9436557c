//! Converts between rows, as both databases return them, and the types of the rules.

use saga_core::Failure;
use saga_proto::Money;

use crate::{
    rule::{Levels, Product, SaleState},
    table::Closing,
};

/// A product's row.
pub(super) struct Row {
    pub(super) sku: String,
    pub(super) name: String,
    pub(super) price: i64,
    pub(super) currency: String,
    pub(super) received: i64,
    pub(super) available: i64,
    pub(super) reserved: i64,
    pub(super) sold: i64,
}

impl From<Row> for Product {
    fn from(row: Row) -> Self {
        let Row { sku, name, price, currency, received, available, reserved, sold } = row;
        let levels = Levels { received, available, reserved, sold };
        Self { sku, name, price: Money::new(price, currency), levels }
    }
}

/// Returns the name of a closed reservation's state. Its movement's kind has the same name.
pub(super) fn name(how: Closing) -> &'static str {
    match how {
        Closing::Released => "released",
        Closing::Committed => "committed",
    }
}

/// Converts a state's name in the tables to the state.
pub(super) fn sale_state(stored: &str) -> Result<SaleState, Failure> {
    match stored {
        "open" => Ok(SaleState::Open),
        "released" => Ok(SaleState::Released),
        "committed" => Ok(SaleState::Committed),
        other => Err(Failure::Permanent(format!("a reservation has the state {other:?}"))),
    }
}
