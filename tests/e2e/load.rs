//! Clients that place orders and log the answers.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use saga::client::again::{self, Patience};
use saga_proto::{
    order::v1::OrderStatus,
    shop::v1::{PlaceOrderRequest, orders_client::OrdersClient},
};
use saga_test_support::shopper::{self, end_of};
use tokio::sync::Mutex;
use tonic::transport::Channel;

/// An order as its client has logged it.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) key: String,
    pub(crate) order_id: String,
    pub(crate) token: String,
    pub(crate) sku: String,
}

impl Logged {
    /// Returns the request. The order's number, which determines it, is at the end of the key.
    pub(crate) fn request(&self) -> anyhow::Result<PlaceOrderRequest> {
        let number: usize = self.key.rsplit('-').next().unwrap_or_default().parse()?;
        let order = shopper::order(&self.key, &self.sku, 1 + (number % 3) as i64, &self.token);
        Ok(PlaceOrderRequest { customer: format!("customer-{}", number % 7), ..order })
    }
}

/// The settings of a load of orders.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) orders: usize,
    pub(crate) clients: usize,
    pub(crate) name: String,
    pub(crate) token: fn(usize) -> &'static str,
    pub(crate) sku: fn(usize) -> &'static str,
    /// Pause of each client between two orders.
    pub(crate) pace: Duration,
}

/// The limits on calling again while nobody answers.
pub(crate) const PATIENCE: Patience = Patience {
    limit: Duration::from_secs(120),
    first_pause: Duration::from_millis(250),
    longest_pause: Duration::from_millis(250),
};

impl Load {
    /// Places all orders, each under its own key, and repeats a call as long as its outcome is
    /// unknown. Returns the accepted orders.
    pub(crate) async fn run(&self, channels: Vec<Channel>) -> anyhow::Result<Vec<Logged>> {
        let log = Arc::new(Mutex::new(Vec::new()));
        self.run_into(channels, Arc::clone(&log)).await?;
        let log = log.lock().await.clone();
        Ok(log)
    }

    /// Like [`Load::run`], but into a log that others can read meanwhile.
    pub(crate) async fn run_into(
        &self,
        channels: Vec<Channel>,
        log: Arc<Mutex<Vec<Logged>>>,
    ) -> anyhow::Result<()> {
        let placing = stream::iter(0..self.orders).map(|n| {
            let (channels, log) = (channels.clone(), Arc::clone(&log));
            async move {
                let logged = self.place(n, &channels).await?;
                log.lock().await.push(logged);
                tokio::time::sleep(self.pace).await;
                anyhow::Ok(())
            }
        });
        let results: Vec<anyhow::Result<()>> =
            placing.buffer_unordered(self.clients).collect().await;
        results.into_iter().collect()
    }

    async fn place(&self, n: usize, channels: &[Channel]) -> anyhow::Result<Logged> {
        let mut logged = Logged {
            key: format!("{}-{n}", self.name),
            order_id: String::new(),
            token: (self.token)(n).to_owned(),
            sku: (self.sku)(n).to_owned(),
        };
        let request = logged.request()?;
        let (mut attempts, mut repeats) = (channels.iter().cycle().skip(n % channels.len()), 0);
        let placed = again::until_answered(PATIENCE, &mut repeats, || {
            let channel = attempts.next().expect("there is a channel");
            again::place_once(OrdersClient::new(channel.clone()), request.clone())
        });
        logged.order_id = placed.await.with_context(|| format!("order {}", logged.key))?.order_id;
        Ok(logged)
    }
}

/// Returns the end that an order must reach, from its client's log.
pub(crate) fn expected(order: &Logged) -> (OrderStatus, &'static str) {
    match order.sku.as_str() {
        "rare" => (OrderStatus::Rejected, "OUT_OF_STOCK"),
        "unknown" => (OrderStatus::Rejected, "UNKNOWN_SKU"),
        _ => end_of(&order.token),
    }
}
