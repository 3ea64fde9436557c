//! The catalogue: validates calls and forwards them to the inventory service. Caches pages of
//! products for a short time.

use std::sync::Arc;

use saga_desk::{Caller, page, validate::page_size as size};
use saga_engine::SagaReads;
use saga_proto::{
    inventory::v1::{Product, ReadProductsRequest, ReceiveStockRequest},
    shop::v1::{ListProductsRequest, ListProductsResponse, catalogue_server::Catalogue},
};
use saga_trace::{current, within};
use tonic::{Request, Response, Status};

use crate::{
    forward::forward,
    front::Front,
    may::STOCK_PRICE,
    product_pages::{Answer, Page},
    validate,
};

#[tonic::async_trait]
impl<R: SagaReads> Catalogue for Front<R> {
    async fn list_products(
        &self,
        request: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsResponse>, Status> {
        self.products(request).await.map(Response::new)
    }

    async fn restock(
        &self,
        request: Request<ReceiveStockRequest>,
    ) -> Result<Response<Product>, Status> {
        self.receive(request).await.map(Response::new)
    }
}

impl<R: SagaReads> Front<R> {
    async fn products(
        &self,
        request: Request<ListProductsRequest>,
    ) -> Result<ListProductsResponse, Status> {
        Caller::of(&request)?;
        let ListProductsRequest { page_size, page_token } = request.into_inner();
        let limit = size(page_size)?;
        // The catalogue is the same for everybody, so the caller is not part of the filter.
        let filter = ["ListProducts"];
        let after = page::read(&filter, &page_token)?.unwrap_or_default();
        let products = self.page(Page { after, limit }).await?;
        let full = i32::try_from(products.len()).is_ok_and(|count| count >= limit);
        let last = products.last().filter(|_| full);
        let next_page_token = last.map(|p| page::write(&filter, &p.sku)).unwrap_or_default();
        Ok(ListProductsResponse { products: Arc::unwrap_or_clone(products), next_page_token })
    }

    async fn page(&self, page: Page) -> Answer {
        let request = ReadProductsRequest { after: page.after.clone(), limit: page.limit };
        let (mut inventory, limit) = (self.inventory.clone(), self.settings.forward_timeout);
        // Boxed, because this future is large.
        let read = Box::pin(async move {
            let read = inventory.read_products(request);
            forward("inventory", limit, read).await.map(|read| read.products)
        });
        // Other calls may wait for this read too, so it runs in its own task, but within this
        // call's trace.
        self.product_pages.get(page, within(current(), read)).await
    }

    async fn receive(&self, request: Request<ReceiveStockRequest>) -> Result<Product, Status> {
        let caller = Caller::of(&request)?;
        let receipt = request.into_inner();
        if receipt.price.is_some() || !receipt.name.is_empty() {
            caller.must(STOCK_PRICE)?;
        }
        validate::restock(&receipt)?;
        let mut inventory = self.inventory.clone();
        let restocking = self.product_pages.restocking();
        let product = self.forward("inventory", inventory.receive_stock(receipt)).await?;
        self.product_pages.restocked(&restocking, &product);
        Ok(product)
    }
}
