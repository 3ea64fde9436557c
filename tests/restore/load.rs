//! Clients that order, cancel and return until they are stopped, and log what was accepted.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use saga_proto::{
    shop::v1::{
        CancelOrderRequest, PlaceOrderRequest, ReturnOrderRequest, orders_client::OrdersClient,
    },
    types::v1::Line,
};
use saga_test_support::system::System;
use tokio::task::JoinSet;
use tonic::transport::Channel;

/// Number of clients that order at once.
const CLIENTS: usize = 8;
/// Pause of a client between two orders.
const PACE: Duration = Duration::from_millis(40);

/// An order or a return that was accepted.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    pub(crate) saga: String,
    pub(crate) at: Instant,
}

/// A load that goes on until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Vec<Accepted>>>,
    clients: JoinSet<()>,
}

impl Load {
    pub(crate) fn start(system: &System) -> anyhow::Result<Self> {
        let mut load = Self { stop: Arc::default(), log: Arc::default(), clients: JoinSet::new() };
        for client in 0..CLIENTS {
            let (stop, log) = (Arc::clone(&load.stop), Arc::clone(&load.log));
            let mut orders = system.orders()?;
            load.clients.spawn(async move {
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    one(&mut orders, &format!("{client}-{n}"), n, &log).await;
                    tokio::time::sleep(PACE).await;
                }
            });
        }
        Ok(load)
    }

    /// Stops the clients, and returns what was accepted.
    pub(crate) async fn stop(mut self) -> Vec<Accepted> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client does not panic");
        }
        self.log.lock().expect("no panic").clone()
    }
}

/// Places an order, and cancels or returns some. Errors are the business of other tests.
async fn one(orders: &mut OrdersClient<Channel>, key: &str, n: usize, log: &Mutex<Vec<Accepted>>) {
    let accepted = |saga: String| {
        log.lock().expect("no panic").push(Accepted { saga, at: Instant::now() });
    };
    let returns = n % 6 == 1;
    let request = PlaceOrderRequest {
        idempotency_key: key.to_owned(),
        customer: format!("customer-{}", n % 7),
        lines: ["cup", "teapot"][..1 + n % 2]
            .iter()
            .map(|sku| Line { sku: (*sku).to_owned(), quantity: 1 + (n % 3) as i64 })
            .collect(),
        payment_token: match n % 10 {
            3 | 8 => "tok_slow",
            5 => "tok_declined",
            _ => "tok_approved",
        }
        .to_owned(),
        wait: returns,
        ..PlaceOrderRequest::default()
    };
    let Ok(placed) = orders.place_order(request).await else { return };
    let order_id = placed.into_inner().order_id;
    accepted(order_id.clone());
    if n % 6 == 4 {
        let reason = "no longer wanted".to_owned();
        let _ = orders.cancel_order(CancelOrderRequest { order_id, reason }).await;
    } else if returns {
        let request = ReturnOrderRequest {
            idempotency_key: format!("{key}-back"),
            order_id,
            reason: "it leaks".to_owned(),
            ..ReturnOrderRequest::default()
        };
        if let Ok(returned) = orders.return_order(request).await
            && let Some(details) = returned.into_inner().details
        {
            accepted(details.return_id);
        }
    }
}
