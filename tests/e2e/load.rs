//! Clients that place orders and log the answers.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use saga_proto::{
    order::v1::OrderStatus,
    shop::v1::{PlaceOrderRequest, orders_client::OrdersClient},
    types::v1::Line,
};
use tokio::sync::Mutex;
use tonic::{Code, transport::Channel};

/// An order as its client has logged it.
#[derive(Clone, Debug)]
pub(crate) struct Logged {
    pub(crate) key: String,
    pub(crate) order_id: String,
    pub(crate) token: String,
    pub(crate) sku: String,
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

/// The number of times that a client tries an order again while it gets no answer.
const TRIES: usize = 120;

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
        let (token, sku) = ((self.token)(n), (self.sku)(n));
        let key = format!("{}-{n}", self.name);
        let request = PlaceOrderRequest {
            idempotency_key: key.clone(),
            customer: format!("customer-{}", n % 7),
            lines: vec![Line { sku: sku.to_owned(), quantity: 1 + (n % 3) as i64 }],
            payment_token: token.to_owned(),
            ..PlaceOrderRequest::default()
        };
        for attempt in 0..TRIES {
            let channel = channels[(n + attempt) % channels.len()].clone();
            let mut client = OrdersClient::new(channel);
            match client.place_order(request.clone()).await {
                Ok(response) => {
                    let order_id = response.into_inner().order_id;
                    return Ok(Logged { key, order_id, token: token.into(), sku: sku.into() });
                }
                // The order may have been accepted, so the client tries again with the same key.
                Err(status) if retriable(status.code()) => {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                Err(status) => anyhow::bail!("order {key} was refused: {status}"),
            }
        }
        anyhow::bail!("order {key} was never accepted")
    }
}

fn retriable(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::ResourceExhausted
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Unknown
            | Code::Internal
    )
}

/// Returns the end that an order must reach, from its client's log.
pub(crate) fn expected(order: &Logged) -> (OrderStatus, &'static str) {
    match (order.sku.as_str(), order.token.as_str()) {
        ("rare", _) => (OrderStatus::Rejected, "OUT_OF_STOCK"),
        ("unknown", _) => (OrderStatus::Rejected, "UNKNOWN_SKU"),
        (_, "tok_declined") => (OrderStatus::Rejected, "CARD_DECLINED"),
        (_, "tok_insufficient_funds") => (OrderStatus::Rejected, "INSUFFICIENT_FUNDS"),
        (_, "tok_capture_declined") => (OrderStatus::Rejected, "CAPTURE_DECLINED"),
        _ => (OrderStatus::Confirmed, ""),
    }
}
