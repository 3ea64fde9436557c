//! Arithmetic on money: checked for overflow, and never across currencies (semantics 22).

/// An amount in integer minor units, with its ISO 4217 code. The same type is used in the contract,
/// in the rules and for clients.
pub use crate::types::v1::Money;

/// The reasons why an amount cannot be computed. Amounts are never rounded instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit into 64 bits.
    #[error("the amount is too large")]
    Overflow,
    /// The two amounts are in different currencies.
    #[error("the amounts are in different currencies")]
    CurrencyMismatch,
}

impl Money {
    /// Creates an amount.
    pub fn new(minor_units: i64, currency: impl Into<String>) -> Self {
        Self { minor_units, currency: currency.into() }
    }

    /// Returns true if the currency has the form of an ISO 4217 code: three capitals.
    #[must_use]
    pub fn has_currency(&self) -> bool {
        self.currency.len() == 3 && self.currency.bytes().all(|b| b.is_ascii_uppercase())
    }

    /// Adds two amounts.
    ///
    /// # Errors
    /// [`MoneyError`], if the currencies differ or the sum is too large.
    pub fn plus(&self, other: &Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::CurrencyMismatch);
        }
        let minor_units =
            self.minor_units.checked_add(other.minor_units).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor_units, currency: self.currency.clone() })
    }

    /// Multiplies the amount by a quantity.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn times(&self, quantity: i64) -> Result<Self, MoneyError> {
        let minor_units = self.minor_units.checked_mul(quantity).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor_units, currency: self.currency.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_and_products_are_exact_or_an_error() {
        let cent = Money::new(1, "EUR");
        assert_eq!(cent.times(3).and_then(|m| m.plus(&cent)), Ok(Money::new(4, "EUR")));
        assert_eq!(Money::new(i64::MAX, "EUR").plus(&cent), Err(MoneyError::Overflow));
        assert_eq!(Money::new(i64::MAX / 2 + 1, "EUR").times(2), Err(MoneyError::Overflow));
        assert_eq!(cent.plus(&Money::new(1, "USD")), Err(MoneyError::CurrencyMismatch));
    }
}
