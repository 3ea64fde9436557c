//! Ordered items as people write them: "teapot=2".

use saga_proto::types::v1::{Line, PricedLine};

use super::money;

/// Parses "SKU=QTY". Checks only the form: the system knows which SKUs exist.
pub(super) fn parse(text: &str) -> Result<Line, String> {
    let (sku, quantity) = text.rsplit_once('=').ok_or("an item is SKU=QUANTITY, like teapot=2")?;
    if sku.is_empty() {
        return Err("the SKU is missing: an item is SKU=QUANTITY, like teapot=2".to_owned());
    }
    Ok(Line { sku: sku.to_owned(), quantity: self::quantity(quantity)? })
}

/// Parses a quantity: a whole number, at least 1.
pub(super) fn quantity(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(quantity) if quantity >= 1 => Ok(quantity),
        Ok(_) | Err(_) => Err(format!("{text:?} is no quantity: a whole number, at least 1")),
    }
}

/// Formats lines as "2 × teapot, 1 × cup".
pub(super) fn show(lines: &[PricedLine]) -> String {
    let each: Vec<_> =
        lines.iter().map(|line| format!("{} × {}", line.quantity, line.sku)).collect();
    each.join(", ")
}

/// Formats a line as "2 × teapot at 12.34 EUR", without the price if it has none yet.
pub(super) fn show_line(line: &PricedLine) -> String {
    match &line.unit_price {
        Some(price) => format!("{} × {} at {}", line.quantity, line.sku, money::show(price)),
        None => format!("{} × {}", line.quantity, line.sku),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_a_sku_and_a_quantity() {
        assert_eq!(parse("teapot=2"), Ok(Line { sku: "teapot".to_owned(), quantity: 2 }));
        assert_eq!(parse("a=b=3"), Ok(Line { sku: "a=b".to_owned(), quantity: 3 }));
        for wrong in [
            "teapot",
            "=2",
            "teapot=",
            "teapot=0",
            "teapot=-1",
            "teapot=1.5",
            "teapot=two",
            "t=9223372036854775808",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lines_read_like_a_shopping_list() {
        let line =
            |sku: &str, quantity| PricedLine { sku: sku.to_owned(), quantity, unit_price: None };
        assert_eq!(show(&[line("teapot", 2), line("cup", 1)]), "2 × teapot, 1 × cup");
        let priced = PricedLine {
            unit_price: Some(saga_proto::Money::new(1234, "EUR")),
            ..line("teapot", 2)
        };
        assert_eq!(show_line(&priced), "2 × teapot at 12.34 EUR");
    }
}
