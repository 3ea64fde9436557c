//! `saga products` and `saga restock`.

use saga_proto::{
    Money,
    inventory::v1::{Product, ReceiveStockRequest},
    shop::v1::{ListProductsRequest, catalogue_client::CatalogueClient},
};
use serde_json::json;
use uuid::Uuid;

use saga_cli::{Connection, Console, Failure, Page, Verdict, clean, table};

use super::{items, money};

/// Lists the products by SKU: what was received is available, reserved or sold.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  saga products
  saga products --all --json | jq -r '.products[] | select(.available == \"0\") | .sku'")]
pub(crate) struct Products {
    #[command(flatten)]
    page: Page,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// Receives goods. A new product needs a name and a price; for a known one both are optional changes.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  saga restock teapot 100 --name 'Brown teapot' --price 12.34EUR
  saga restock teapot 50 --key delivery-4711

Restocking twice with one key receives the goods once.")]
pub(crate) struct Restock {
    /// What came in
    sku: String,
    /// How many of it
    #[arg(value_parser = items::quantity)]
    quantity: i64,
    /// What people call it
    #[arg(long, default_value = "", hide_default_value = true)]
    name: String,
    /// The price of one
    #[arg(long, value_name = "AMOUNT", value_parser = money::parse)]
    price: Option<Money>,
    /// Identifies this receipt, so that sending it again is safe; a random one by default
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Products {
    pub(super) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let mut client = CatalogueClient::new(self.connection.channel());
        let mut page_token = String::new();
        loop {
            let request = ListProductsRequest { page_size: self.page.size(), page_token };
            let page = client.list_products(self.connection.request(request)).await?.into_inner();
            if console.json {
                console.object(
                    &json!({"products": page.products, "nextPageToken": page.next_page_token}),
                )?;
            } else if page.products.is_empty() {
                console.note("No products. Add one: saga restock --help")?;
            } else {
                let heading = ["SKU", "NAME", "PRICE", "AVAILABLE", "RESERVED", "SOLD", "RECEIVED"];
                console.say(&table(heading, page.products.iter().map(row)))?;
            }
            page_token = page.next_page_token;
            if !self.page.goes_on(&page_token, console)? {
                return Ok(Verdict::Done);
            }
        }
    }
}

impl Restock {
    pub(super) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let key = self.key.clone().unwrap_or_else(|| Uuid::new_v4().to_string());
        console.remember("idempotencyKey", &key);
        if self.key.is_none() && !console.json {
            console.note(&format!("Key {key} (to repeat this receipt safely: --key {key})"))?;
        }
        let mut client = CatalogueClient::new(self.connection.channel());
        let request = self.connection.request(ReceiveStockRequest {
            sku: self.sku,
            quantity: self.quantity,
            idempotency_key: key.clone(),
            name: self.name,
            price: self.price,
        });
        let product = client.restock(request).await?.into_inner();
        if console.json {
            console.object(&json!({"product": product, "idempotencyKey": key}))?;
        } else {
            console.say(&sentence(&product))?;
        }
        Ok(Verdict::Done)
    }
}

fn sentence(product: &Product) -> String {
    let Product { sku, available, reserved, sold, .. } = product;
    clean(&format!("{sku}: {available} available, {reserved} reserved, {sold} sold.")).into_owned()
}

fn row(product: &Product) -> [String; 7] {
    [
        product.sku.clone(),
        product.name.clone(),
        product.price.as_ref().map(money::show).unwrap_or_default(),
        product.available.to_string(),
        product.reserved.to_string(),
        product.sold.to_string(),
        product.received.to_string(),
    ]
}
