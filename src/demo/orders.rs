//! The demo's clients. Each places an order, waits for its end, and then places the next one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use saga_proto::{
    order::v1::OrderStatus,
    shop::v1::{
        CancelOrderRequest, PlaceOrderRequest, PlaceOrderResponse, Return, ReturnOrderRequest,
        ReturnStatus, orders_client::OrdersClient,
    },
    types::v1::Line,
};
use tokio::sync::Notify;
use tonic::{Code, Status, transport::Channel};

use super::mix::{self, End, Kind};
use crate::client::again::{self, Patience};

/// Limits on the calls for one order. The time limit is far beyond every deadline of the system.
const PATIENCE: Patience = Patience {
    limit: Duration::from_secs(180),
    first_pause: Duration::from_millis(50),
    longest_pause: Duration::from_millis(500),
};
/// Time after which a client cancels its order, if the order is one to be cancelled.
const SECOND_THOUGHTS: Duration = Duration::from_millis(150);

/// All clients of a run.
pub(super) struct Clients {
    /// One client for each server. All calls about an order go to the same server, as they would in
    /// a customer's program.
    orders: Vec<OrdersClient<Channel>>,
    count: u32,
    seed: u64,
    /// Part of every key, so that several runs can use the same data directory.
    run: uuid::Uuid,
    ended: AtomicU32,
    in_flight: AtomicU32,
    repeats: AtomicU64,
    piles: Mutex<BTreeMap<String, u32>>,
    progress: Notify,
    began: Instant,
}

/// An order that was placed, with its end.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) order_id: String,
    pub(super) kind: Kind,
    pub(super) status: OrderStatus,
    pub(super) reason: String,
    /// The status of its return, if it was returned.
    pub(super) returned: Option<ReturnStatus>,
}

/// The results of all orders.
pub(super) struct Tally {
    pub(super) placed: Vec<Placed>,
    /// Calls that had to be repeated, under the same key.
    pub(super) repeats: u64,
    pub(super) took: Duration,
}

/// The progress of a run so far.
pub(super) struct Standing {
    pub(super) ended: u32,
    pub(super) in_flight: u32,
    pub(super) piles: String,
    pub(super) a_second: f64,
}

impl Clients {
    pub(super) fn new(channels: Vec<Channel>, count: u32, seed: u64) -> Self {
        Self {
            orders: channels.into_iter().map(OrdersClient::new).collect(),
            count,
            seed,
            run: uuid::Uuid::new_v4(),
            ended: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            repeats: AtomicU64::new(0),
            piles: Mutex::default(),
            progress: Notify::new(),
            began: Instant::now(),
        }
    }

    /// Places every order, at most `clients` at a time, and waits until the end of each is known.
    pub(super) async fn place_all(self: Arc<Self>, clients: usize) -> anyhow::Result<Tally> {
        let placing = stream::iter(0..self.count).map(|number| {
            let clients = Arc::clone(&self);
            async move { clients.place(number).await.with_context(|| format!("order {number}")) }
        });
        let placed: Vec<anyhow::Result<Placed>> = placing.buffer_unordered(clients).collect().await;
        self.progress.notify_waiters();
        Ok(Tally {
            placed: placed.into_iter().collect::<anyhow::Result<_>>()?,
            repeats: self.repeats.load(Relaxed),
            took: self.began.elapsed(),
        })
    }

    /// Waits until `count` orders have ended.
    pub(super) async fn ended(&self, count: u32) {
        loop {
            let progress = self.progress.notified();
            if self.ended.load(Relaxed) >= count {
                return;
            }
            progress.await;
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn standing(&self) -> Standing {
        let ended = self.ended.load(Relaxed);
        let piles = self.piles.lock().unwrap_or_else(PoisonError::into_inner);
        let piles: Vec<String> = piles.iter().map(|(state, n)| format!("{n} {state}")).collect();
        Standing {
            ended,
            in_flight: self.in_flight.load(Relaxed),
            piles: piles.join(", "),
            a_second: f64::from(ended) / self.began.elapsed().as_secs_f64().max(0.001),
        }
    }

    async fn place(&self, number: u32) -> anyhow::Result<Placed> {
        let kind = Kind::of(self.seed, number);
        let lines = match kind {
            Kind::OutOfStock => vec![(mix::RARE, 2)],
            _ => mix::lines(self.seed, number),
        };
        let line = |(sku, quantity): (&str, i64)| Line { sku: sku.to_owned(), quantity };
        let request = PlaceOrderRequest {
            idempotency_key: format!("demo/{}/{number}", self.run),
            customer: format!("customer-{}", number % 10),
            lines: lines.into_iter().map(line).collect(),
            payment_token: kind.token().to_owned(),
            expected_total: None,
            wait: kind != Kind::Cancelled,
        };
        self.in_flight.fetch_add(1, Relaxed);
        let mut placed = self.persist(number, request.clone()).await?;
        if kind == Kind::Cancelled {
            tokio::time::sleep(SECOND_THOUGHTS).await;
            self.cancel(number, &placed.order_id).await?;
            placed =
                self.persist(number, PlaceOrderRequest { wait: true, ..request.clone() }).await?;
        }
        let returned = match (placed.status(), mix::returned(self.seed, number)) {
            (OrderStatus::Confirmed, Some(whole)) => {
                let lines = if whole { Vec::new() } else { one_of(&request) };
                Some(self.give_back(number, &placed.order_id, lines).await?.status())
            }
            (_, Some(_) | None) => None,
        };
        let status = placed.status();
        let name = status.as_str_name().trim_start_matches("ORDER_STATUS_").to_lowercase();
        *self.piles.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
        self.in_flight.fetch_sub(1, Relaxed);
        self.ended.fetch_add(1, Relaxed);
        self.progress.notify_waiters();
        let reason = placed.reason_code;
        Ok(Placed { order_id: placed.order_id, kind, status, reason, returned })
    }

    /// Returns an order, and waits until it is refunded.
    async fn give_back(
        &self,
        number: u32,
        order_id: &str,
        lines: Vec<Line>,
    ) -> anyhow::Result<Return> {
        let request = ReturnOrderRequest {
            idempotency_key: format!("demo/{}/{number}", self.run),
            order_id: order_id.to_owned(),
            lines,
            reason: "it is not what I thought".to_owned(),
            wait: true,
        };
        self.insist(number, |orders| again::give_back_once(orders, request.clone())).await
    }

    fn server_of(&self, number: u32) -> &OrdersClient<Channel> {
        &self.orders[number as usize % self.orders.len()]
    }

    /// Places an order. The key is always the same, so only one order is placed.
    async fn persist(
        &self,
        number: u32,
        request: PlaceOrderRequest,
    ) -> anyhow::Result<PlaceOrderResponse> {
        self.insist(number, |orders| again::place_once(orders, request.clone())).await
    }

    /// Repeats a call about an order until it is answered.
    async fn insist<R, F>(
        &self,
        number: u32,
        call: impl Fn(OrdersClient<Channel>) -> F,
    ) -> anyhow::Result<R>
    where
        F: Future<Output = Result<R, Status>>,
    {
        let (orders, mut repeats) = (self.server_of(number), 0);
        let answer = again::until_answered(PATIENCE, &mut repeats, || call(orders.clone())).await;
        self.repeats.fetch_add(repeats, Relaxed);
        Ok(answer?)
    }

    async fn cancel(&self, number: u32, order_id: &str) -> anyhow::Result<()> {
        let request = CancelOrderRequest {
            order_id: order_id.to_owned(),
            reason: "changed my mind".to_owned(),
        };
        let cancel = |mut orders: OrdersClient<Channel>| {
            let request = request.clone();
            async move {
                match orders.cancel_order(again::limited(request)).await {
                    // It is too late to cancel: the order is paid.
                    Err(refused) if refused.code() == Code::FailedPrecondition => Ok(()),
                    answered => answered.map(drop),
                }
            }
        };
        self.insist(number, cancel).await
    }
}

/// Returns a line with one piece of the first product of an order.
fn one_of(request: &PlaceOrderRequest) -> Vec<Line> {
    request.lines.iter().take(1).map(|line| Line { quantity: 1, ..line.clone() }).collect()
}

impl Placed {
    /// Returns true if the order ended as its kind must, and its return, if any, succeeded.
    pub(super) fn as_asked(&self) -> bool {
        let returned = self.returned.is_none_or(|status| status == ReturnStatus::Done);
        returned && self.ended_as_asked()
    }

    fn ended_as_asked(&self) -> bool {
        match self.kind.end() {
            End::Confirmed => self.status == OrderStatus::Confirmed,
            End::Rejected(reason) => self.status == OrderStatus::Rejected && self.reason == reason,
            // Once the order is paid, it is too late to cancel it.
            End::Cancelled => {
                matches!(self.status, OrderStatus::Cancelled | OrderStatus::Confirmed)
            }
        }
    }
}
