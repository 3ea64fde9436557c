//! The loops that place orders: closed (a fixed number in flight) and open (a fixed rate).

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use saga_proto::shop::v1::{PlaceOrderResponse, orders_client::OrdersClient};
use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until},
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use super::{
    arrivals::Arrivals,
    demand::Demand,
    observe::{Observer, Used},
    tally::Tally,
};
use saga::client::again::{self, Patience};

/// Callers on one connection. Servers commonly allow 100 to 200 streams on one; more would queue
/// in the client, and their waiting would be measured as the system's.
const CALLERS_A_CONNECTION: u32 = 100;
/// Connections of an open loop, whose number of callers is not known. They are enough for 20,000
/// calls at 1,024 on each, which our orchestrators allow. More would only cost.
const OPEN_CONNECTIONS: usize = 20;
/// The most orders of an open loop that may be under way. Beyond that an order is not placed, but
/// counted.
const MOST_UNDER_WAY: usize = 50_000;
/// A loop with this many failures gives up.
const MOST_FAILURES: u64 = 100;
/// Warming up and measuring may each take this much longer than configured, until as many orders
/// have ended as there are callers.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// With fewer orders than this the median is meaningless.
const LEAST_ORDERS: u64 = 20;
/// The pause between two checks of a loop's bounds.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Places orders in a running system.
pub(super) struct Driver {
    pub(super) endpoint: Box<Endpoint>,
    pub(super) demand: Arc<Demand>,
}

/// The time to warm up, and the bounds of the measurement, which ends at the first one.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) warm_up: Duration,
    pub(super) time: Duration,
    pub(super) orders: u64,
}

/// The rate of an open loop.
#[derive(Clone, Copy)]
pub(super) struct Rate {
    pub(super) a_second: f64,
    /// Whether to place an order again that a busy server has refused, after the pause that the
    /// server advises. Otherwise the order counts as refused.
    pub(super) honours_advice: bool,
}

/// The result of a loop.
pub(super) struct Run {
    /// The measured orders. In a closed loop, these are the orders that ended during the
    /// measurement; in an open loop, those that were due during the measurement.
    pub(super) measured: Tally,
    /// All other orders.
    pub(super) rest: Tally,
    /// Sagas that ended during the measurement.
    pub(super) completed: u64,
    pub(super) time: Duration,
    /// Orders that were due but were not placed, because too many were under way.
    pub(super) held_back: u64,
    pub(super) used: Used,
}

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

/// State that the callers of a loop share.
struct Shared {
    demand: Arc<Demand>,
    phase: AtomicU8,
    ended: AtomicU64,
    /// Sagas that ended during the measurement.
    completed: AtomicU64,
    failed: AtomicU64,
    /// One for all callers: there are thousands, and a histogram takes a hundred kilobytes.
    tallies: Mutex<Tallies>,
}

/// The orders that are measured, and the others.
struct Tallies {
    measured: Tally,
    rest: Tally,
}

impl Driver {
    /// Runs `in_flight` callers, each of which waits for its order's end before it places the next.
    pub(super) async fn closed(
        &self,
        in_flight: u32,
        bounds: Bounds,
        observer: &Observer,
    ) -> anyhow::Result<Run> {
        let shared = self.shared();
        let channels = self.channels(in_flight.div_ceil(CALLERS_A_CONNECTION) as usize);
        let mut callers = JoinSet::new();
        for channel in channels.iter().cycle().take(in_flight as usize) {
            let orders = OrdersClient::new(channel.clone());
            callers.spawn(call_in_turn(orders, Arc::clone(&shared)));
        }
        let (time, used) = shared.measure(u64::from(in_flight), bounds, observer).await?;
        while let Some(ended) = callers.join_next().await {
            ended?;
        }
        Ok(shared.run(time, used, 0))
    }

    /// Places orders at a constant rate. Each latency counts from the instant at which the order
    /// is due.
    pub(super) async fn open(
        &self,
        rate: Rate,
        bounds: Bounds,
        observer: &Observer,
    ) -> anyhow::Result<Run> {
        let shared = self.shared();
        let channels = self.channels(OPEN_CONNECTIONS);
        let arriving = async {
            let (mut held_back, mut calls) = (0, JoinSet::new());
            let whole = bounds.warm_up + bounds.time;
            let began = Instant::now();
            let mut arrivals = Arrivals::new(rate.a_second, began, whole);
            let mut clients = channels.iter().cycle().map(|c| OrdersClient::new(c.clone()));
            // Every order that is due is placed, however late.
            while let Some(next) = arrivals.next().filter(|_| !shared.is_hopeless()) {
                sleep_until(next.into()).await;
                while let Some(at) = arrivals.due(Instant::now()) {
                    if calls.len() >= MOST_UNDER_WAY {
                        held_back += 1;
                        continue;
                    }
                    let orders = clients.next().expect("there are channels");
                    let coming = Coming { at, is_measured: at >= began + bounds.warm_up };
                    let honours_advice = rate.honours_advice;
                    calls.spawn(call_at(coming, honours_advice, orders, Arc::clone(&shared)));
                }
                while let Some(ended) = calls.try_join_next() {
                    ended?;
                }
            }
            while let Some(ended) = calls.join_next().await {
                ended?;
            }
            anyhow::Ok(held_back)
        };
        let (held_back, measured) = tokio::join!(arriving, shared.measure(0, bounds, observer));
        let (time, used) = measured?;
        Ok(shared.run(time, used, held_back?))
    }

    fn shared(&self) -> Arc<Shared> {
        Arc::new(Shared {
            demand: Arc::clone(&self.demand),
            phase: AtomicU8::new(WARMING),
            ended: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            tallies: Mutex::new(Tallies { measured: Tally::new(), rest: Tally::new() }),
        })
    }

    fn channels(&self, count: usize) -> Vec<Channel> {
        (0..count.max(1)).map(|_| self.endpoint.connect_lazy()).collect()
    }
}

impl Shared {
    /// Warms up, then measures. An open loop has 0 callers.
    async fn measure(
        &self,
        callers: u64,
        bounds: Bounds,
        observer: &Observer,
    ) -> anyhow::Result<(Duration, Used)> {
        sleep(bounds.warm_up).await;
        let cold = Instant::now();
        let is_warm = || bounds.warm_up.is_zero() || self.ended.load(Relaxed) >= callers;
        while !is_warm() && self.goes_on() && cold.elapsed() < LONGEST_WAIT {
            sleep(LOOK_EVERY).await;
        }
        let before = observer.look().await?;
        let began = Instant::now();
        self.phase.store(MEASURING, Relaxed);
        let least = if callers == 0 { 0 } else { callers.max(LEAST_ORDERS) };
        // Callers tend to move in step, a batch at a time. A window shorter than a batch would
        // count all of it or nothing.
        let is_over = || {
            let (time, completed) = (began.elapsed(), self.completed.load(Relaxed));
            let enough = completed >= least || time >= bounds.time + LONGEST_WAIT;
            (time >= bounds.time && enough) || completed >= bounds.orders
        };
        while !is_over() && self.goes_on() {
            let left = bounds.time.saturating_sub(began.elapsed());
            sleep(if left.is_zero() { LOOK_EVERY } else { LOOK_EVERY.min(left) }).await;
        }
        self.phase.store(OVER, Relaxed);
        let time = began.elapsed();
        let used = observer.look().await?.since(&before);
        Ok((time, used))
    }

    fn goes_on(&self) -> bool {
        self.phase.load(Relaxed) != OVER && !self.is_hopeless()
    }

    fn is_hopeless(&self) -> bool {
        self.failed.load(Relaxed) >= MOST_FAILURES
    }

    fn is_measuring(&self) -> bool {
        self.phase.load(Relaxed) == MEASURING
    }

    /// Counts an order.
    fn count(&self, outcome: &Outcome) {
        match &outcome.end {
            Ok(_) => {
                self.ended.fetch_add(1, Relaxed);
                self.completed.fetch_add(u64::from(self.is_measuring()), Relaxed);
            }
            Err(status) if status.code() == Code::ResourceExhausted => {}
            Err(_) => {
                self.failed.fetch_add(1, Relaxed);
            }
        }
        let mut tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        let Tallies { measured, rest } = &mut *tallies;
        let tally = if outcome.is_measured { measured } else { rest };
        tally.repeats += outcome.repeats;
        tally.count(outcome.is_declined, &outcome.end, outcome.latency);
    }

    fn run(&self, time: Duration, used: Used, held_back: u64) -> Run {
        let tallies = self.tallies.lock().unwrap_or_else(PoisonError::into_inner);
        Run {
            measured: tallies.measured.clone(),
            rest: tallies.rest.clone(),
            completed: self.completed.load(Relaxed),
            time,
            held_back,
            used,
        }
    }
}

/// The outcome of one order.
struct Outcome {
    is_measured: bool,
    is_declined: bool,
    end: Result<PlaceOrderResponse, Status>,
    latency: Duration,
    repeats: u64,
}

async fn call_in_turn(orders: OrdersClient<Channel>, shared: Arc<Shared>) {
    while shared.goes_on() {
        let (wanted, mut repeats, start) = (shared.demand.next(), 0, Instant::now());
        let end = again::place(&orders, &wanted.request, Patience::default(), &mut repeats).await;
        let (latency, is_measured) = (start.elapsed(), shared.is_measuring());
        let is_declined = wanted.is_declined;
        shared.count(&Outcome { is_measured, is_declined, end, latency, repeats });
    }
}

/// An order of an open loop: the instant at which it is due, and whether it is measured.
struct Coming {
    at: Instant,
    is_measured: bool,
}

/// Places an order that was due at `at`.
async fn call_at(
    Coming { at, is_measured }: Coming,
    honours_advice: bool,
    orders: OrdersClient<Channel>,
    shared: Arc<Shared>,
) {
    let (wanted, mut repeats) = (shared.demand.next(), 0);
    let first = again::place_once(orders.clone(), wanted.request.clone()).await;
    let end = match first {
        Err(status) if status.code() == Code::ResourceExhausted && !honours_advice => Err(status),
        Err(_) => {
            repeats += 1;
            again::place(&orders, &wanted.request, Patience::default(), &mut repeats).await
        }
        ended => ended,
    };
    let (latency, is_declined) = (at.elapsed(), wanted.is_declined);
    shared.count(&Outcome { is_measured, is_declined, end, latency, repeats });
}
