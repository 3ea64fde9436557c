//! The products that `saga load`, `saga demo` and `saga-bench` buy, and how they get into stock.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use saga_proto::{
    Money,
    inventory::v1::{Product, ReceiveStockRequest},
    shop::v1::catalogue_client::CatalogueClient,
};
use tonic::{Status, transport::Channel};

use super::again::{Patience, limited, until_answered};

/// Number of receipts that are sent at the same time.
const RECEIPTS_AT_ONCE: usize = 16;

/// A shop's products: SKU, name, and price in cents.
pub(crate) const SHOP: [(&str, &str, i64); 6] = [
    ("teapot", "Teapot", 2_450),
    ("cup", "Cup", 690),
    ("saucer", "Saucer", 390),
    ("spoon", "Spoon", 275),
    ("tray", "Tray", 1_899),
    ("kettle", "Kettle", 5_900),
];

/// A quantity of one product, priced in cents.
#[derive(Clone, Debug)]
pub struct Goods {
    /// The product's SKU.
    pub sku: String,
    /// The product's name.
    pub name: String,
    /// Price of one piece, in cents.
    pub cents: i64,
    /// Number of pieces.
    pub quantity: i64,
}

impl Goods {
    /// Returns `quantity` of each product of the [`SHOP`].
    pub(crate) fn shop(quantity: i64) -> impl Iterator<Item = Self> {
        SHOP.into_iter().map(move |(sku, name, cents)| Self {
            sku: sku.to_owned(),
            name: name.to_owned(),
            cents,
            quantity,
        })
    }
}

/// Receives goods into stock, each exactly once for a key. Returns the products after that.
pub async fn receive(
    catalogue: &CatalogueClient<Channel>,
    goods: impl IntoIterator<Item = Goods>,
    key: &str,
) -> Result<Vec<Product>, Status> {
    let receipts = goods.into_iter().map(|Goods { sku, name, cents, quantity }| {
        let receipt = ReceiveStockRequest {
            idempotency_key: format!("{key}/{sku}"),
            sku,
            quantity,
            name,
            price: Some(Money::new(cents, "EUR")),
        };
        async move {
            let mut repeats = 0;
            let received = until_answered(Patience::default(), &mut repeats, || {
                let (mut catalogue, receipt) = (catalogue.clone(), receipt.clone());
                async move { catalogue.restock(limited(receipt)).await }
            });
            received.await.map(tonic::Response::into_inner)
        }
    });
    stream::iter(receipts).buffer_unordered(RECEIPTS_AT_ONCE).try_collect().await
}
