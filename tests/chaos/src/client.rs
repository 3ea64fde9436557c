//! A client that logs each of its calls and the answer, if there was one.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Write as _,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use saga::client::again::{self, Patience};
use saga_proto::{
    order::v1::OrderStatus,
    shop::v1::{CancelOrderRequest, PlaceOrderRequest, orders_client::OrdersClient},
};
use saga_test_support::shopper::{self, GOOD_CARD, SLOW_CARD, mixed_card};
use serde_json::json;
use tokio::time::Instant;
use tonic::{Request, Status, transport::Channel};

use crate::system::SKUS;

/// Time limit for a call. After it the answer counts as lost.
const CALL_LIMIT: Duration = Duration::from_secs(5);
/// Time limit for a call that waits for the order's end.
const WAIT_LIMIT: Duration = Duration::from_secs(10);
/// Pause between two calls under one key.
const PAUSE: Duration = Duration::from_millis(250);
/// The client calls again until the run ends.
const PATIENCE: Patience =
    Patience { limit: Duration::MAX, first_pause: PAUSE, longest_pause: PAUSE };

/// The client's record of one of its orders.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    pub(crate) key: String,
    pub(crate) token: &'static str,
    /// Time at which the order was placed, since the run's start.
    pub(crate) placed: Duration,
    /// True if the first answer was lost, so that the client called again.
    pub(crate) unknown: bool,
    /// All order ids in the answers. More than one would be an error.
    pub(crate) ids: BTreeSet<String>,
    pub(crate) end: Option<End>,
    /// True if a cancellation was answered with success.
    pub(crate) cancelled: bool,
    /// Descriptions of the answers that should have been impossible.
    pub(crate) wrong: Vec<String>,
}

/// The end of an order, as an answer reported it.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) status: OrderStatus,
    pub(crate) reason: String,
    /// Time of the answer, since the run's start.
    pub(crate) at: Duration,
}

impl End {
    /// Returns true if the order was undone because a step or the whole order took too long.
    pub(crate) fn was_given_up(&self) -> bool {
        ["UNAVAILABLE", "DEADLINE"].contains(&self.reason.as_str())
    }
}

/// A client, which its clones share.
#[derive(Clone)]
pub(crate) struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    channels: Vec<Channel>,
    begin: Instant,
    log: Mutex<File>,
    orders: Mutex<Vec<Order>>,
    next: AtomicUsize,
    under_way: AtomicUsize,
    gave_up: AtomicBool,
    /// True while every order uses a card for which the provider is slow.
    slow: AtomicBool,
    /// True if every order uses a card that is accepted, and the client does nothing but place
    /// orders.
    plain: bool,
}

impl Client {
    pub(crate) fn new(dir: &Path, channels: Vec<Channel>, plain: bool) -> anyhow::Result<Self> {
        let inner = Inner {
            channels,
            begin: Instant::now(),
            log: Mutex::new(File::create(dir.join("client.jsonl"))?),
            orders: Mutex::default(),
            next: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            gave_up: AtomicBool::new(false),
            slow: AtomicBool::new(false),
            plain,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the time since the run's start.
    pub(crate) fn now(&self) -> Duration {
        self.inner.begin.elapsed()
    }

    /// Makes all further orders use a card for which the provider is slow, or no longer.
    pub(crate) fn use_slow_cards(&self, slow: bool) {
        self.inner.slow.store(slow, Ordering::SeqCst);
    }

    /// Places orders at this rate a second for this long, without waiting for their ends.
    pub(crate) async fn arrive(&self, rate: f64, length: Duration) {
        let mut next = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
        next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        let end = Instant::now() + length;
        while Instant::now() < end {
            next.tick().await;
            let client = self.clone();
            tokio::spawn(async move { client.order().await });
        }
    }

    /// Places one order and waits for its end. The order is on record from its first call on.
    pub(crate) async fn order(&self) {
        let inner = &self.inner;
        inner.under_way.fetch_add(1, Ordering::SeqCst);
        let n = inner.next.fetch_add(1, Ordering::SeqCst);
        let token = match inner.plain {
            true if inner.slow.load(Ordering::SeqCst) => SLOW_CARD,
            true => GOOD_CARD,
            false => mixed_card(n),
        };
        let order =
            Order { key: format!("chaos-{n}"), token, placed: self.now(), ..Order::default() };
        let place = inner.push(order);
        self.run(n, place, token).await;
        inner.under_way.fetch_sub(1, Ordering::SeqCst);
    }

    async fn run(&self, n: usize, place: usize, token: &str) {
        let (key, sku) = (format!("chaos-{n}"), SKUS[n % SKUS.len()]);
        let request = PlaceOrderRequest {
            customer: format!("customer-{}", n % 7),
            ..shopper::order(&key, sku, 1 + (n % 3) as i64, token)
        };
        let Some(id) = self.place(n, place, &request, false).await else { return };
        if !self.inner.plain {
            if n % 20 == 11 {
                self.cancel(n, place, &id).await;
            }
            if n % 30 == 21 {
                self.misuse(n, place, &request).await;
            }
        }
        // Calls with the same key again, until an answer contains the end.
        self.place(n, place, &request, true).await;
    }

    /// Calls with one key repeatedly, until the order is accepted or, with `wait`, has ended.
    async fn place(
        &self,
        n: usize,
        place: usize,
        request: &PlaceOrderRequest,
        wait: bool,
    ) -> Option<String> {
        let asked = PlaceOrderRequest { wait, ..request.clone() };
        let (mut attempts, mut repeats) = (n.., 0);
        let answered = again::until_answered(PATIENCE, &mut repeats, || {
            let orders = self.orders(attempts.next().expect("there is no last number"));
            self.place_once(n, place, orders, asked.clone())
        });
        match answered.await {
            Ok(id) => Some(id),
            Err(_) if self.inner.gave_up.load(Ordering::SeqCst) => None,
            Err(status) => {
                let wrong = format!("{} was answered with {status}", what(&asked));
                self.inner.with(place, |order| order.wrong.push(wrong));
                None
            }
        }
    }

    /// Calls once. An order that has not ended although the client waits for its end is an error,
    /// after which the client calls again.
    async fn place_once(
        &self,
        n: usize,
        place: usize,
        mut client: OrdersClient<Channel>,
        request: PlaceOrderRequest,
    ) -> Result<String, Status> {
        if self.inner.gave_up.load(Ordering::SeqCst) {
            return Err(Status::aborted("the run is over"));
        }
        let limit = if request.wait { WAIT_LIMIT } else { CALL_LIMIT };
        let answered = bounded(limit, client.place_order(limited(request.clone(), limit))).await;
        let answer = match answered {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                self.log(n, what(&request), &request, &refused(&status));
                self.inner.with(place, |order| order.unknown |= !request.wait);
                return Err(status);
            }
        };
        let (status, at) = (answer.status(), self.now());
        self.log(n, what(&request), &request, &json!({"order": answer.order_id, "status": status.as_str_name(), "reason": answer.reason_code, "repeated": answer.repeated}));
        let ended = status != OrderStatus::Pending;
        self.inner.with(place, |order| {
            order.ids.insert(answer.order_id.clone());
            if ended && order.end.is_none() {
                order.end = Some(End { status, reason: answer.reason_code, at });
            }
        });
        if request.wait && !ended {
            return Err(Status::deadline_exceeded("the order has not ended"));
        }
        Ok(answer.order_id)
    }

    /// Cancels the order. Tries only once, whatever the answer.
    async fn cancel(&self, n: usize, place: usize, id: &str) {
        let request = CancelOrderRequest { order_id: id.to_owned(), reason: "chaos".to_owned() };
        let mut client = self.orders(n);
        let limit = WAIT_LIMIT;
        let answer = bounded(limit, client.cancel_order(limited(request.clone(), limit))).await;
        match answer.map(tonic::Response::into_inner) {
            Ok(answer) => {
                let status = answer.status();
                self.log(n, "cancel", &request, &json!({"status": status.as_str_name()}));
                let cancelled = status == OrderStatus::Cancelled;
                self.inner.with(place, |order| order.cancelled = cancelled);
            }
            Err(status) => self.log(n, "cancel", &request, &refused(&status)),
        }
    }

    /// Calls with a used key and another payload. The orchestrator must refuse that.
    async fn misuse(&self, n: usize, place: usize, request: &PlaceOrderRequest) {
        let mut other = request.clone();
        other.lines[0].quantity += 1;
        let mut client = self.orders(n + 1);
        let asked = limited(other.clone(), CALL_LIMIT);
        match bounded(CALL_LIMIT, client.place_order(asked)).await {
            Ok(answer) => {
                let wrong = format!("its key was taken for another payload: {answer:?}");
                self.inner.with(place, |order| order.wrong.push(wrong));
                self.log(n, "misuse", &other, &json!("accepted"));
            }
            Err(status) => self.log(n, "misuse", &other, &refused(&status)),
        }
    }

    /// Waits until the end of every order is known, for at most `limit`.
    pub(crate) async fn rest(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        while self.inner.under_way.load(Ordering::SeqCst) > 0 {
            if Instant::now() > deadline {
                self.inner.gave_up.store(true, Ordering::SeqCst);
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Returns the records of all orders so far.
    pub(crate) fn log_so_far(&self) -> Vec<Order> {
        self.inner.orders.lock().expect("nobody panics while holding it").clone()
    }

    fn orders(&self, n: usize) -> OrdersClient<Channel> {
        OrdersClient::new(self.inner.channels[n % self.inner.channels.len()].clone())
    }

    fn log(
        &self,
        n: usize,
        what: &str,
        request: &impl serde::Serialize,
        answer: &serde_json::Value,
    ) {
        let at = self.now().as_millis() as u64;
        let line = json!({"at": at, "key": format!("chaos-{n}"), "call": what, "request": request, "answer": answer});
        let mut log = self.inner.log.lock().expect("nobody panics while holding it");
        let _ = writeln!(log, "{line}");
    }
}

impl Inner {
    fn push(&self, order: Order) -> usize {
        let mut orders = self.orders.lock().expect("nobody panics while holding it");
        orders.push(order);
        orders.len() - 1
    }

    fn with(&self, place: usize, change: impl FnOnce(&mut Order)) {
        change(&mut self.orders.lock().expect("nobody panics while holding it")[place]);
    }
}

/// Sets the call's deadline, so that the server knows how long the client waits.
fn limited<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

async fn bounded<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    // A server that is paused does not answer when the deadline has passed, so the client stops
    // waiting.
    let patience = limit + Duration::from_secs(1);
    tokio::time::timeout(patience, call)
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("nobody answered")))
}

/// Returns the name of a call in the log.
fn what(request: &PlaceOrderRequest) -> &'static str {
    if request.wait { "wait" } else { "place" }
}

fn refused(status: &Status) -> serde_json::Value {
    json!({"code": status.code().description(), "message": status.message()})
}
