//! Parses and formats amounts as people write them, "12.34EUR". Amounts are integers throughout,
//! never floating-point numbers.

use saga_proto::Money;

/// Number of decimals, with the currencies that have it. Currencies that are not listed have two.
/// Source: ISO 4217, list one, column "minor unit".
const DECIMALS: [(u32, &str); 3] = [
    (0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"),
    (3, "BHD IQD JOD KWD LYD OMR TND"),
    (4, "CLF UYW"),
];
const USUAL_DECIMALS: u32 = 2;

/// The reason why a text is not an amount. Its message explains how an amount is written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AmountError {
    #[error("an amount is digits and a currency, like 12.34EUR")]
    Shape,
    #[error("a currency is three capitals, like EUR")]
    Currency,
    #[error("{currency} has {decimals} decimals")]
    TooPrecise { currency: String, decimals: u32 },
    #[error("the amount is too large")]
    TooLarge,
}

/// Parses "12.34EUR", "12.34 EUR" or "12EUR".
pub(super) fn parse(text: &str) -> Result<Money, AmountError> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(AmountError::Shape)?;
    let (amount, currency) = text.split_at(split);
    let currency = currency.trim_start_matches(' ');
    let (whole, fraction) = match amount.split_once('.') {
        None => (amount, ""),
        Some((whole, fraction)) if !fraction.is_empty() && !fraction.contains('.') => {
            (whole, fraction)
        }
        Some(_) => return Err(AmountError::Shape),
    };
    if whole.is_empty() {
        return Err(AmountError::Shape);
    }
    if !Money::new(0, currency).has_currency() {
        return Err(AmountError::Currency);
    }
    let decimals = decimals(currency);
    if fraction.len() > decimals as usize {
        return Err(AmountError::TooPrecise { currency: currency.to_owned(), decimals });
    }
    let digits = format!("{whole}{fraction:0<width$}", width = decimals as usize);
    let minor_units = digits.parse().map_err(|_| AmountError::TooLarge)?;
    Ok(Money::new(minor_units, currency))
}

/// Formats an amount as "12.34 EUR".
pub(super) fn show(money: &Money) -> String {
    let scale = 10_u64.pow(decimals(&money.currency));
    let sign = if money.minor_units < 0 { "-" } else { "" };
    let units = money.minor_units.unsigned_abs();
    let (whole, fraction) = (units / scale, units % scale);
    match decimals(&money.currency) as usize {
        0 => format!("{sign}{whole} {}", money.currency),
        width => format!("{sign}{whole}.{fraction:0width$} {}", money.currency),
    }
}

fn decimals(currency: &str) -> u32 {
    DECIMALS
        .iter()
        .find(|(_, codes)| codes.split(' ').any(|code| code == currency))
        .map_or(USUAL_DECIMALS, |(decimals, _)| *decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_currency_has_its_own_decimals() {
        for (text, minor_units, currency, shown) in [
            ("12.34EUR", 1234, "EUR", "12.34 EUR"),
            ("12.34 EUR", 1234, "EUR", "12.34 EUR"),
            ("12EUR", 1200, "EUR", "12.00 EUR"),
            ("0.5USD", 50, "USD", "0.50 USD"),
            ("0.05USD", 5, "USD", "0.05 USD"),
            ("1200JPY", 1200, "JPY", "1200 JPY"),
            ("1.234BHD", 1234, "BHD", "1.234 BHD"),
            ("1.0001CLF", 10_001, "CLF", "1.0001 CLF"),
            ("92233720368547758.07EUR", i64::MAX, "EUR", "92233720368547758.07 EUR"),
        ] {
            let money = Money::new(minor_units, currency);
            assert_eq!(parse(text), Ok(money.clone()), "{text}");
            assert_eq!(show(&money), shown);
            assert_eq!(parse(shown), Ok(money), "what is shown can be read");
        }
    }

    #[test]
    fn what_is_no_exact_amount_is_refused_never_rounded() {
        use AmountError::{Currency, Shape, TooLarge};
        for (text, error) in [
            ("", Shape),
            ("12.34", Shape),
            ("EUR", Shape),
            (".5EUR", Shape),
            ("1.EUR", Shape),
            ("1.2.3EUR", Shape),
            ("-1EUR", Shape),
            ("1,5EUR", Currency),
            ("1eur", Currency),
            ("1EURO", Currency),
            ("1 €", Currency),
            ("1e3EUR", Currency),
            ("92233720368547758.08EUR", TooLarge),
            ("1.5JPY", AmountError::TooPrecise { currency: "JPY".to_owned(), decimals: 0 }),
            ("1.234EUR", AmountError::TooPrecise { currency: "EUR".to_owned(), decimals: 2 }),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn negative_amounts_are_shown_whole() {
        assert_eq!(show(&Money::new(-5, "EUR")), "-0.05 EUR");
        assert_eq!(show(&Money::new(i64::MIN, "EUR")), "-92233720368547758.08 EUR");
    }
}
