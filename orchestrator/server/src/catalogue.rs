//! The catalogue: the inventory service's, checked and forwarded.

use saga_engine::SagaReads;
use saga_proto::{
    inventory::v1::{Product, ReadProductsRequest, ReceiveStockRequest},
    shop::v1::{ListProductsRequest, ListProductsResponse, catalogue_server::Catalogue},
};
use tonic::{Request, Response, Status};

use crate::{Caller, front::Front, metadata, metered::metered, page, validate};

#[tonic::async_trait]
impl<R: SagaReads> Catalogue for Front<R> {
    async fn list_products(
        &self,
        request: Request<ListProductsRequest>,
    ) -> Result<Response<ListProductsResponse>, Status> {
        let trace = metadata::traceparent(request.metadata());
        let call = self.products(request);
        metered("saga.shop.v1.Catalogue/ListProducts", trace, call).await.map(Response::new)
    }

    async fn restock(
        &self,
        request: Request<ReceiveStockRequest>,
    ) -> Result<Response<Product>, Status> {
        let trace = metadata::traceparent(request.metadata());
        let call = self.receive(request);
        metered("saga.shop.v1.Catalogue/Restock", trace, call).await.map(Response::new)
    }
}

impl<R: SagaReads> Front<R> {
    async fn products(
        &self,
        request: Request<ListProductsRequest>,
    ) -> Result<ListProductsResponse, Status> {
        Caller::of(&request)?;
        let ListProductsRequest { page_size, page_token } = request.into_inner();
        let limit = validate::page_size(page_size)?;
        // The catalogue is the same for everybody, so the caller is no part of it.
        let filter = ["ListProducts"];
        let after = page::read(&filter, &page_token)?.unwrap_or_default();
        let mut inventory = self.inventory.clone();
        let read = inventory.read_products(ReadProductsRequest { after, limit });
        let products = self.forward("inventory", read).await?.products;
        let full = i32::try_from(products.len()).is_ok_and(|count| count >= limit);
        let last = products.last().filter(|_| full);
        let next_page_token = last.map(|p| page::write(&filter, &p.sku)).unwrap_or_default();
        Ok(ListProductsResponse { products, next_page_token })
    }

    async fn receive(&self, request: Request<ReceiveStockRequest>) -> Result<Product, Status> {
        Caller::of(&request)?;
        let receipt = request.into_inner();
        validate::restock(&receipt)?;
        let mut inventory = self.inventory.clone();
        self.forward("inventory", inventory.receive_stock(receipt)).await
    }
}
