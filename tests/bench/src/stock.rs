//! The bench's products: receives enough of each, and reads their levels before and after a run.

use std::collections::BTreeSet;

use saga_proto::{
    inventory::v1::Product,
    shop::v1::{ListProductsRequest, catalogue_client::CatalogueClient},
};
use tonic::{Status, transport::Channel};
use uuid::Uuid;

use saga::client::{
    again::{Patience, limited, until_answered},
    goods::{Goods, receive},
};

/// The quantity of each product that is received before a run: more than any run can sell, and few
/// enough for 10⁹ runs.
const PLENTY: i64 = 1_000_000_000;
/// The contract's largest page, and the most pages that are read.
const PAGE: i32 = 500;
const MOST_PAGES: u32 = 10_000;
/// Each product's price, in cents.
const PRICE: i64 = 1234;

/// The products of a run.
pub(super) struct Stock {
    pub(super) run: Uuid,
    pub(super) skus: u64,
    pub(super) catalogue: CatalogueClient<Channel>,
}

/// The sums over the bench's products, from the catalogue.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) sold: i64,
    pub(super) reserved: i64,
    /// The number of products whose received is not available + reserved + sold.
    pub(super) unbalanced: i64,
}

/// Returns a product's SKU, by its number.
pub(super) fn sku(number: u64) -> String {
    format!("bench-{number:05}")
}

/// Returns a large quantity of each product.
pub(super) fn goods(skus: u64) -> impl Iterator<Item = Goods> {
    (0..skus).map(|number| Goods {
        sku: sku(number),
        name: format!("Bench product {number}"),
        cents: PRICE,
        quantity: PLENTY,
    })
}

impl Stock {
    /// Receives enough of each product for the whole run, and returns the sums as they were before.
    pub(super) async fn receive(&self) -> Result<Books, Status> {
        let key = format!("bench/{}", self.run);
        let received = receive(&self.catalogue, goods(self.skus), &key).await?;
        Ok(received.iter().collect())
    }

    /// Reads the sums from the catalogue.
    pub(super) async fn read(&self) -> Result<Books, Status> {
        let ours: BTreeSet<_> = (0..self.skus).map(sku).collect();
        let (mut products, mut page_token) = (Vec::new(), String::new());
        for _ in 0..MOST_PAGES {
            let request = ListProductsRequest { page_size: PAGE, page_token };
            let mut repeats = 0;
            let page = until_answered(Patience::default(), &mut repeats, || {
                let (mut catalogue, request) = (self.catalogue.clone(), request.clone());
                async move { catalogue.list_products(limited(request)).await }
            });
            let page = page.await?.into_inner();
            products.extend(page.products.into_iter().filter(|p| ours.contains(&p.sku)));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        Ok(products.iter().collect())
    }
}

impl<'a> FromIterator<&'a Product> for Books {
    fn from_iter<I: IntoIterator<Item = &'a Product>>(products: I) -> Self {
        products.into_iter().fold(Self::default(), |books, p| Self {
            sold: books.sold + p.sold,
            reserved: books.reserved + p.reserved,
            unbalanced: books.unbalanced
                + i64::from(p.received != p.available + p.reserved + p.sold),
        })
    }
}

impl Books {
    /// Returns the change since an earlier reading, except `unbalanced`, which is the current
    /// number.
    pub(super) fn since(self, before: &Self) -> Self {
        Self {
            sold: self.sold - before.sold,
            reserved: self.reserved - before.reserved,
            unbalanced: self.unbalanced,
        }
    }
}
