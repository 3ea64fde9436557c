//! Fakes of the order, inventory and payment services, with the calls that the front door makes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use saga_proto::{
    inventory::v1::{
        Product, ReadProductsRequest, ReadProductsResponse, ReceiveStockRequest,
        inventory_server::{Inventory, InventoryServer},
    },
    order::v1::{
        Order, OrderStatus, ReadOrderRequest, ReadOrdersRequest, ReadOrdersResponse,
        order_reads_server::{OrderReads, OrderReadsServer},
    },
    payment::v1::{
        Availability, ReadAvailabilityRequest,
        payments_server::{Payments, PaymentsServer},
    },
};
use tokio::{net::TcpListener, sync::RwLock};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint, server::TcpIncoming},
};

#[derive(Clone, Default)]
pub(crate) struct Services {
    state: Arc<Mutex<State>>,
    /// While a test holds this for writing, calls about products are not answered.
    pub(crate) answering: Arc<RwLock<()>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) orders: BTreeMap<String, Order>,
    pub(crate) products: BTreeMap<String, Product>,
    pub(crate) availability: Availability,
    /// How often the payment service was asked.
    pub(crate) asked: u64,
    /// How often products were read.
    pub(crate) catalogue_reads: u64,
    /// If set, every call fails with this error.
    pub(crate) fails: Option<Status>,
}

impl Services {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("sound")
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, Status> {
        let state = self.state();
        state.fails.clone().map_or(Ok(state), Err)
    }

    pub(crate) async fn serve(&self) -> Channel {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let server = tonic::transport::Server::builder()
            .add_service(OrderReadsServer::new(self.clone()))
            .add_service(InventoryServer::new(self.clone()))
            .add_service(PaymentsServer::new(self.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(server);
        channel(&format!("http://{address}"))
    }
}

pub(crate) fn channel(url: &str) -> Channel {
    Endpoint::from_shared(url.to_owned()).expect("a URL").connect_lazy()
}

#[tonic::async_trait]
impl OrderReads for Services {
    async fn read_order(&self, r: Request<ReadOrderRequest>) -> Result<Response<Order>, Status> {
        let order = self.open()?.orders.get(&r.get_ref().order_id).cloned();
        order.map(Response::new).ok_or_else(|| Status::not_found("there is no such order"))
    }

    async fn read_orders(
        &self,
        request: Request<ReadOrdersRequest>,
    ) -> Result<Response<ReadOrdersResponse>, Status> {
        let r = request.into_inner();
        assert!((1..=500).contains(&r.limit), "{r:?}");
        let state = self.open()?;
        let wanted = |order: &&Order| {
            (r.customer.is_empty() || r.customer == order.customer)
                && (r.status() == OrderStatus::Unspecified || r.status == order.status)
                && (r.before.is_empty() || order.order_id < r.before)
        };
        let limit = usize::try_from(r.limit).expect("positive");
        let orders = state.orders.values().rev().filter(wanted).take(limit).cloned().collect();
        Ok(Response::new(ReadOrdersResponse { orders }))
    }
}

#[tonic::async_trait]
impl Inventory for Services {
    async fn read_products(
        &self,
        request: Request<ReadProductsRequest>,
    ) -> Result<Response<ReadProductsResponse>, Status> {
        let r = request.into_inner();
        let limit = usize::try_from(r.limit).expect("positive");
        let products = {
            let mut state = self.open()?;
            state.catalogue_reads += 1;
            let after = state.products.values().filter(|product| product.sku > r.after);
            after.take(limit).cloned().collect()
        };
        drop(self.answering.read().await);
        Ok(Response::new(ReadProductsResponse { products }))
    }

    async fn receive_stock(
        &self,
        request: Request<ReceiveStockRequest>,
    ) -> Result<Response<Product>, Status> {
        let r = request.into_inner();
        let mut state = self.open()?;
        if r.name.is_empty() && !state.products.contains_key(&r.sku) {
            return Err(Status::failed_precondition("a new product needs a name and a price"));
        }
        let product = state.products.entry(r.sku.clone()).or_default();
        product.sku = r.sku;
        product.available += r.quantity;
        Ok(Response::new(product.clone()))
    }
}

#[tonic::async_trait]
impl Payments for Services {
    async fn read_availability(
        &self,
        _request: Request<ReadAvailabilityRequest>,
    ) -> Result<Response<Availability>, Status> {
        let mut state = self.open()?;
        state.asked += 1;
        Ok(Response::new(state.availability.clone()))
    }
}
