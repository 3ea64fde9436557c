//! The bench's products: enough of each, and what the catalogue says of them before and after.

use std::{collections::BTreeSet, time::Duration};

use saga_proto::{
    Money,
    inventory::v1::{Product, ReceiveStockRequest},
    shop::v1::{ListProductsRequest, catalogue_client::CatalogueClient},
};
use tokio::{task::JoinSet, time::sleep};
use tonic::{Request, Status, transport::Channel};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::super::failure::{Failure, may_retry, retry_delay, told_apart};

/// How many products are restocked at once.
const RESTOCKS_AT_ONCE: usize = 16;
/// How often one is tried, and the pause between, if the server names none.
const MOST_ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest page that the contract allows, and the largest catalogue that is read.
const PAGE: i32 = 500;
const MOST_PAGES: u32 = 10_000;
/// What each product costs, in cents.
const PRICE: i64 = 1234;

/// The products of a run.
pub(super) struct Stock {
    pub(super) run: Uuid,
    pub(super) skus: u64,
    /// How many of each come in.
    pub(super) for_orders: i64,
}

/// The catalogue's sums over the bench's products.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) sold: i64,
    pub(super) reserved: i64,
    /// Products whose received is not available + reserved + sold.
    pub(super) unbalanced: i64,
}

/// A product's SKU, by its number.
pub(super) fn sku(number: u64) -> String {
    format!("bench-{number:05}")
}

impl Stock {
    /// Receives enough of each product for the whole run, and returns the books as they were.
    pub(super) async fn receive(
        &self,
        catalogue: &CatalogueClient<Channel>,
    ) -> Result<Books, Failure> {
        let mut books = Books::default();
        let mut receipts = JoinSet::new();
        for number in 0..self.skus {
            if receipts.len() == RESTOCKS_AT_ONCE {
                books.received(receipts.join_next().await)?;
            }
            let request = ReceiveStockRequest {
                sku: sku(number),
                quantity: self.for_orders,
                idempotency_key: format!("bench/{}/{number}", self.run),
                name: format!("Bench product {number}"),
                price: Some(Money::new(PRICE, "EUR")),
            };
            receipts.spawn(receive(catalogue.clone(), request));
        }
        while !receipts.is_empty() {
            books.received(receipts.join_next().await)?;
        }
        Ok(books)
    }

    /// Reads the books.
    pub(super) async fn read(
        &self,
        catalogue: &mut CatalogueClient<Channel>,
    ) -> Result<Books, Failure> {
        let ours: BTreeSet<_> = (0..self.skus).map(sku).collect();
        let mut books = Books::default();
        let mut page_token = String::new();
        for _ in 0..MOST_PAGES {
            let mut request = Request::new(ListProductsRequest { page_size: PAGE, page_token });
            request.set_timeout(CALL_TIMEOUT);
            let page = catalogue.list_products(request).await?.into_inner();
            page.products
                .iter()
                .filter(|product| ours.contains(&product.sku))
                .for_each(|product| books.add(product));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(books)
    }
}

async fn receive(
    mut catalogue: CatalogueClient<Channel>,
    request: ReceiveStockRequest,
) -> Result<Product, Status> {
    let mut attempt = 1;
    loop {
        let mut call = Request::new(request.clone());
        call.set_timeout(CALL_TIMEOUT);
        match catalogue.restock(call).await.map_err(told_apart) {
            Ok(product) => return Ok(product.into_inner()),
            Err(status) if may_retry(&status) && attempt < MOST_ATTEMPTS => {
                attempt += 1;
                sleep(retry_delay(&status.get_error_details()).unwrap_or(PAUSE).min(CALL_TIMEOUT))
                    .await;
            }
            Err(status) => return Err(status),
        }
    }
}

impl Books {
    fn received(
        &mut self,
        receipt: Option<Result<Result<Product, Status>, tokio::task::JoinError>>,
    ) -> Result<(), Failure> {
        if let Some(receipt) = receipt {
            self.add(&receipt.map_err(std::io::Error::other)??);
        }
        Ok(())
    }

    fn add(&mut self, product: &Product) {
        self.sold += product.sold;
        self.reserved += product.reserved;
        self.unbalanced +=
            i64::from(product.received != product.available + product.reserved + product.sold);
    }

    /// What changed since then; what is out of balance is so now.
    pub(super) fn since(self, before: &Self) -> Self {
        Self {
            sold: self.sold - before.sold,
            reserved: self.reserved - before.reserved,
            unbalanced: self.unbalanced,
        }
    }
}
