//! Starts a front door with an engine behind it, for tests to call.

mod broker;
mod neighbours;
mod store;

use std::time::Duration;

use saga_core::{Instance, SagaId};
use saga_engine::Engine;
use saga_front::{Neighbours, Server, Settings};
use saga_messaging::Transport;
use saga_operations::v1::sagas_client::SagasClient;
use saga_proto::{
    shop::v1::{
        PlaceOrderRequest, PlaceOrderResponse, catalogue_client::CatalogueClient,
        orders_client::OrdersClient,
    },
    types::v1::Line,
};
use saga_taps::Tapped;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Status, transport::Channel};
use tonic_types::StatusExt as _;

pub(crate) use self::{
    broker::{Answer, Broker},
    neighbours::{Services, channel},
    store::Memory,
};

/// Longest time that a test waits for something to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct World {
    pub(crate) store: Memory,
    pub(crate) broker: Broker,
    pub(crate) services: Services,
    pub(crate) url: String,
    pub(crate) channel: Channel,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: tokio::task::JoinHandle<()>,
    _end: DropGuard,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let broker = Broker::new();
        let link = broker.link();
        Self::over(broker, link, change, |_| {}).await
    }

    /// Starts a world in which the server's own engine receives neither replies nor hints. Another
    /// engine, on the same store, makes the decisions.
    pub(crate) async fn decided_elsewhere() -> Self {
        let broker = Broker::new();
        let (deaf, hearing) = (broker.deaf_link(), broker.link());
        Self::over(
            broker,
            deaf,
            |_| {},
            |store| {
                let (engine, _) =
                    Engine::new(Tapped(store), hearing, saga_definitions::hosted(None));
                tokio::spawn(engine.run(CancellationToken::new()));
            },
        )
        .await
    }

    /// Starts a world in which the services behind the front door cannot be reached.
    pub(crate) async fn alone() -> Self {
        let broker = Broker::new();
        let link = broker.link();
        Self::start(broker, link, |_| {}, |_| {}, Some(channel("http://127.0.0.1:1"))).await
    }

    async fn over(
        broker: Broker,
        link: impl Transport,
        change: impl FnOnce(&mut Settings),
        also: impl FnOnce(Memory),
    ) -> Self {
        Self::start(broker, link, change, also, None).await
    }

    async fn start(
        broker: Broker,
        link: impl Transport,
        change: impl FnOnce(&mut Settings),
        also: impl FnOnce(Memory),
        behind: Option<Channel>,
    ) -> Self {
        let (store, services) = (Memory::new(), Services::default());
        let shutdown = CancellationToken::new();
        let hosted = saga_definitions::hosted(None);
        let (engine, handle) = Engine::new(Tapped(store.clone()), link, hosted.clone());
        tokio::spawn(engine.run(shutdown.clone()));
        also(store.clone());
        let behind = match behind {
            Some(channel) => channel,
            None => services.serve().await,
        };
        let mut settings = Settings::default();
        settings.desk.drain = Duration::from_secs(2);
        change(&mut settings);
        let server = Server {
            handle,
            reads: Tapped(store.clone()),
            hosted,
            neighbours: Neighbours {
                order: behind.clone(),
                inventory: behind.clone(),
                payment: behind,
            },
            settings,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let stop = shutdown.clone();
        let serving =
            tokio::spawn(async move { server.serve(listener, stop).await.expect("serves") });
        Self {
            store,
            broker,
            services,
            channel: channel(&url),
            url,
            serving,
            _end: shutdown.clone().drop_guard(),
            shutdown,
        }
    }

    pub(crate) fn orders(&self) -> OrdersClient<Channel> {
        OrdersClient::new(self.channel.clone())
    }

    pub(crate) fn catalogue(&self) -> CatalogueClient<Channel> {
        CatalogueClient::new(self.channel.clone())
    }

    pub(crate) fn sagas(&self) -> SagasClient<Channel> {
        SagasClient::new(self.channel.clone())
    }

    pub(crate) async fn place(
        &self,
        order: PlaceOrderRequest,
    ) -> Result<PlaceOrderResponse, Status> {
        self.orders().place_order(order).await.map(tonic::Response::into_inner)
    }

    /// Places an order, checks that it is accepted, and returns its id.
    pub(crate) async fn placed(&self, key: &str) -> String {
        self.place(order(key)).await.expect("accepted").order_id
    }

    /// Counts the keys and sagas in the store.
    pub(crate) fn written(&self) -> (i64, i64) {
        let count = |table| self.store.count(&format!("SELECT count(*) FROM {table}"));
        (count("idempotency_keys"), count("sagas"))
    }

    pub(crate) fn saga(&self, id: &str) -> Instance {
        let id: SagaId = id.parse().expect("an id");
        self.store.find(id).expect("it exists")
    }

    pub(crate) async fn until(&self, what: &str, happened: impl Fn(&Self) -> bool) {
        let all = async {
            while !happened(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.unwrap_or_else(|_| panic!("never: {what}"));
    }

    pub(crate) async fn until_ended(&self, id: &str) -> Instance {
        self.until("the saga ends", |world| world.saga(id).ended().is_some()).await;
        self.saga(id)
    }
}

/// Builds a valid order that does not wait for its end.
pub(crate) fn order(key: &str) -> PlaceOrderRequest {
    PlaceOrderRequest {
        idempotency_key: key.to_owned(),
        customer: "Ada".to_owned(),
        lines: vec![Line { sku: "teapot".to_owned(), quantity: 2 }],
        payment_token: "tok_visa".to_owned(),
        expected_total: None,
        wait: false,
    }
}

/// Builds the same order, but with a caller that waits for its end.
pub(crate) fn waiting(key: &str) -> PlaceOrderRequest {
    PlaceOrderRequest { wait: true, ..order(key) }
}

/// Returns the fields that a status reports as wrong.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    let details = status.get_details_bad_request();
    details.map_or_else(Vec::new, |d| d.field_violations.into_iter().map(|v| v.field).collect())
}

/// Returns the machine-readable reason in a status.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// Returns true if a status contains a retry delay.
pub(crate) fn says_when(status: &Status) -> bool {
    status.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some())
}
