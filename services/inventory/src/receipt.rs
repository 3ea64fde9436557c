//! The rules for receiving goods. Pure: no database, no clock.

use saga_proto::{Money, inventory::v1::ReceiveStockRequest};
use sha2::{Digest, Sha256};

use crate::rule::{self, Levels, Product};

/// Maximum length of an idempotency key. Orders have the same limit.
pub const MAX_KEY_BYTES: usize = 255;
/// Maximum length of a product's name.
pub const MAX_NAME_CHARS: usize = 200;

/// A request to add received goods to the stock.
#[derive(Clone, Debug, PartialEq)]
pub struct Receipt {
    /// The idempotency key. Goods with the same key are added only once.
    pub key: String,
    /// The product that was received.
    pub sku: String,
    /// Number of pieces.
    pub quantity: i64,
    /// The product's name. It is required for a new product, and renames a known one.
    pub name: Option<String>,
    /// The product's price. It is required for a new product, and changes that of a known one.
    pub price: Option<Money>,
}

/// The reasons why goods cannot be received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReceived {
    /// The product is new, and its name or its price is missing.
    #[error("the product is new: it needs a name and a price")]
    NewProduct,
    /// The product's stock would be too large to count.
    #[error("there would be more of it than can be counted")]
    TooMany,
}

impl Receipt {
    /// Validates a request.
    ///
    /// # Errors
    /// A sentence for the sender that describes the mistake in the request.
    pub fn read(request: ReceiveStockRequest) -> Result<Self, String> {
        let ReceiveStockRequest { sku, quantity, idempotency_key: key, name, price } = request;
        if !(1..=MAX_KEY_BYTES).contains(&key.len())
            || !key.bytes().all(|b| (b' '..=b'~').contains(&b))
        {
            return Err(format!(
                "idempotency_key is not 1 to {MAX_KEY_BYTES} printable ASCII characters"
            ));
        }
        if !rule::is_sku(&sku) {
            return Err(format!(
                "sku is not 1 to {} of a-z, 0-9, '.', '_' and '-'",
                rule::MAX_SKU_BYTES
            ));
        }
        if quantity < 1 {
            return Err("quantity is less than 1".to_owned());
        }
        if name.chars().count() > MAX_NAME_CHARS || name.contains(char::is_control) {
            return Err(format!("name is not at most {MAX_NAME_CHARS} readable characters"));
        }
        if let Some(price) = &price {
            if price.minor_units < 1 {
                return Err("price is not positive".to_owned());
            }
            if !price.has_currency() {
                return Err("price.currency is not three capitals".to_owned());
            }
        }
        let name = Some(name).filter(|name| !name.is_empty());
        Ok(Self { key, sku, quantity, name, price })
    }

    /// Hashes everything but the key. The same key with another hash belongs to another receipt.
    #[must_use]
    pub fn hash(&self) -> Vec<u8> {
        let Self { key: _, sku, quantity, name, price } = self;
        let mut hash = Sha256::new();
        let mut text = |text: Option<&str>| {
            // The lengths are hashed too, so that a missing text differs from an empty one, and
            // different lists of texts never have the same bytes.
            hash.update(text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
            hash.update(text.unwrap_or_default());
        };
        text(Some(sku));
        text(name.as_deref());
        text(price.as_ref().map(|price| price.currency.as_str()));
        hash.update(price.as_ref().map_or(0, |price| price.minor_units).to_le_bytes());
        hash.update(quantity.to_le_bytes());
        hash.finalize()[..16].to_vec()
    }

    /// Returns the product as it is after the goods were added.
    ///
    /// # Errors
    /// [`NotReceived`].
    pub fn take_in(&self, known: Option<Product>) -> Result<Product, NotReceived> {
        let mut product = match known {
            Some(known) => known,
            None => match (&self.name, &self.price) {
                (Some(name), Some(price)) => Product {
                    sku: self.sku.clone(),
                    name: name.clone(),
                    price: price.clone(),
                    levels: Levels::default(),
                },
                (None, _) | (_, None) => return Err(NotReceived::NewProduct),
            },
        };
        if let Some(name) = &self.name {
            product.name.clone_from(name);
        }
        if let Some(price) = &self.price {
            product.price = price.clone();
        }
        let Levels { received, available, .. } = &mut product.levels;
        *received = received.checked_add(self.quantity).ok_or(NotReceived::TooMany)?;
        // This cannot overflow, because the available stock is a part of the received stock.
        *available += self.quantity;
        Ok(product)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut ReceiveStockRequest);

    fn request() -> ReceiveStockRequest {
        ReceiveStockRequest {
            sku: "teapot".into(),
            quantity: 10,
            idempotency_key: "receipt-1".into(),
            name: "Teapot".into(),
            price: Some(Money::new(2_500, "EUR")),
        }
    }

    fn receipt(change: impl Fn(&mut ReceiveStockRequest)) -> Receipt {
        let mut request = request();
        change(&mut request);
        Receipt::read(request).expect("a sound request")
    }

    #[test]
    fn a_bad_request_is_told_what_is_wrong_with_it() {
        let spoil: [(&str, Change); 14] = [
            ("idempotency_key", |r| r.idempotency_key.clear()),
            ("idempotency_key", |r| r.idempotency_key = "x".repeat(256)),
            ("idempotency_key", |r| r.idempotency_key = "nul\0".into()),
            ("sku", |r| r.sku.clear()),
            ("sku", |r| r.sku = "x".repeat(65)),
            ("sku", |r| r.sku = "Teapot".into()),
            ("sku", |r| r.sku = "'; drop table".into()),
            ("quantity", |r| r.quantity = 0),
            ("quantity", |r| r.quantity = i64::MIN),
            ("name", |r| r.name = "x".repeat(201)),
            ("name", |r| r.name = "nul\0".into()),
            ("price", |r| r.price = Some(Money::new(0, "EUR"))),
            ("price", |r| r.price = Some(Money::new(1, "eur"))),
            ("price", |r| r.price = Some(Money::new(1, "EURO"))),
        ];
        for (field, spoil) in spoil {
            let mut request = request();
            spoil(&mut request);
            let why = Receipt::read(request).expect_err("it is bad");
            assert!(why.starts_with(field), "{why}");
        }
    }

    #[test]
    fn a_new_product_needs_a_name_and_a_price() {
        let product = receipt(|_| {}).take_in(None).expect("it is described");
        assert_eq!((product.levels.received, product.levels.available), (10, 10));
        for receipt in [receipt(|r| r.name.clear()), receipt(|r| r.price = None)] {
            assert_eq!(receipt.take_in(None), Err(NotReceived::NewProduct));
        }
    }

    #[test]
    fn a_known_product_keeps_its_name_and_price_unless_new_ones_are_given() {
        let known = receipt(|_| {}).take_in(None).expect("it is described");
        let plain = receipt(|r| (r.name, r.price) = (String::new(), None));
        let same = plain.take_in(Some(known.clone())).expect("it is known");
        assert_eq!((&same.name, &same.price), (&known.name, &known.price));
        assert_eq!(same.levels.available, 20);
        let dearer = receipt(|r| r.price = Some(Money::new(9, "USD")));
        let dearer = dearer.take_in(Some(known)).expect("it is known");
        assert_eq!(dearer.price, Money::new(9, "USD"));
    }

    #[test]
    fn more_than_can_be_counted_is_not_taken_in() {
        let known = receipt(|_| {}).take_in(None).expect("it is described");
        let flood = receipt(|r| r.quantity = i64::MAX);
        assert_eq!(flood.take_in(Some(known)), Err(NotReceived::TooMany));
    }

    #[test]
    fn the_hash_tells_every_field_but_the_key() {
        let hash = receipt(|_| {}).hash();
        assert_eq!(receipt(|r| r.idempotency_key = "other".into()).hash(), hash);
        let change: [Change; 6] = [
            |r| r.sku = "teapots".into(),
            |r| r.quantity = 11,
            |r| r.name.clear(),
            |r| r.price = None,
            |r| r.price = Some(Money::new(2_501, "EUR")),
            |r| r.price = Some(Money::new(2_500, "USD")),
        ];
        for change in change {
            assert_ne!(receipt(change).hash(), hash);
        }
    }
}
