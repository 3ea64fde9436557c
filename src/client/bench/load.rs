//! The closed loop of one level, and the count of what became of its orders.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hdrhistogram::Histogram;
use saga_proto::{
    order::v1::OrderStatus,
    shop::v1::{PlaceOrderRequest, PlaceOrderResponse, orders_client::OrdersClient},
    types::v1::Line,
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::{
    super::{
        failure::{self, Failure, may_retry, retry_delay, told_apart},
        orders,
    },
    Progress,
    stock::sku,
};

/// How many callers share a connection: servers commonly allow 100 to 200 streams on one, and the rest would queue in the
/// client and be measured as the system's.
const CALLERS_A_CONNECTION: u32 = 100;
/// How long one call may wait for its order's end; after that it is repeated with the same key.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// An order that has not ended after so long counts as failed.
const ORDER_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause before a first repetition, if the server names none; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause, also if the server asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A level that fails so often has nothing more to say.
const MOST_FAILURES: u64 = 100;
/// How often the progress line is written.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// The histogram's range; slower orders count as the highest.
const SLOWEST_MICROS: u64 = 120_000_000;
/// Its precision, in decimal digits.
const DIGITS: u8 = 3;
/// A number without a common divisor with 100 (nor with most counts of SKUs): stepping by it visits everything evenly.
const STRIDE: u64 = 7919;

/// When a loop ends: whichever comes first.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    pub(super) orders: u64,
    pub(super) time: Duration,
}

/// So many callers, each of whom waits for its order's end before it places the next.
pub(super) struct Level {
    pub(super) endpoint: Box<Endpoint>,
    pub(super) run: Uuid,
    pub(super) skus: u64,
    pub(super) decline_percent: u64,
    pub(super) in_flight: u32,
    /// Counts the run's orders, so that each has a key of its own.
    pub(super) first_order: u64,
    pub(super) bounds: Bounds,
}

/// What became of a loop's orders.
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) confirmed: u64,
    /// Rejected, as the card asked for.
    pub(super) declined: u64,
    /// Ended otherwise than the card asked for: how, and how often.
    pub(super) unexpected: BTreeMap<String, u64>,
    /// Orders whose end we do not know: the gRPC code, and how often.
    pub(super) unknown: BTreeMap<String, u64>,
    /// Calls that were repeated, with the same key.
    pub(super) repeats: u64,
    /// How many ended before the time was over; the last ones, which end after it, make no rate.
    pub(super) in_time: u64,
    /// How long the loop ran, without those last ones.
    pub(super) elapsed: Duration,
    /// From the first call to the order's end, repetitions included, in microseconds.
    pub(super) latency_micros: Histogram<u64>,
}

/// What the callers of a loop share.
struct Shared {
    run: Uuid,
    skus: u64,
    decline_percent: u64,
    first_order: u64,
    most_orders: u64,
    deadline: Instant,
    taken: AtomicU64,
    ended: AtomicU64,
    failed: AtomicU64,
}

impl Level {
    /// Runs the loop until a bound is reached and every order that was placed has ended or failed.
    pub(super) async fn drive(
        &self,
        progress: &mut Progress<'_, '_>,
        what: &str,
    ) -> Result<Tally, Failure> {
        let channels: Vec<_> = (0..self.in_flight.div_ceil(CALLERS_A_CONNECTION))
            .map(|_| self.endpoint.connect_lazy())
            .collect();
        let start = Instant::now();
        let shared = Arc::new(Shared {
            run: self.run,
            skus: self.skus,
            decline_percent: self.decline_percent,
            first_order: self.first_order,
            most_orders: self.bounds.orders,
            deadline: start + self.bounds.time,
            taken: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let mut callers = JoinSet::new();
        for channel in channels.iter().cycle().take(self.in_flight as usize) {
            callers.spawn(call_in_turn(OrdersClient::new(channel.clone()), Arc::clone(&shared)));
        }
        let mut total = Tally::new();
        let mut tick = interval(PROGRESS_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                caller = callers.join_next() => match caller {
                    Some(tally) => total.add(tally.map_err(std::io::Error::other)?),
                    None => break,
                },
                _ = tick.tick(), if progress.shown => {
                    let (ended, seconds) = (shared.ended.load(Relaxed), start.elapsed().as_secs());
                    progress.show(&format!("{what} with {} in flight: {ended} orders in {seconds} s", self.in_flight))?;
                }
            }
        }
        total.elapsed = start.elapsed().min(self.bounds.time);
        Ok(total)
    }
}

async fn call_in_turn(mut client: OrdersClient<Channel>, shared: Arc<Shared>) -> Tally {
    let mut tally = Tally::new();
    while Instant::now() < shared.deadline && shared.failed.load(Relaxed) < MOST_FAILURES {
        let taken = shared.taken.fetch_add(1, Relaxed);
        if taken >= shared.most_orders {
            break;
        }
        let order = shared.order(shared.first_order + taken);
        let start = Instant::now();
        let end = until_ended(&mut client, &order.request, &mut tally.repeats).await;
        let (latency, in_time) = (start.elapsed(), Instant::now() <= shared.deadline);
        tally.sent += 1;
        match end {
            Ok(end) => {
                shared.ended.fetch_add(1, Relaxed);
                tally.in_time += u64::from(in_time);
                tally
                    .latency_micros
                    .saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
                tally.ended(order.is_declined, &end);
            }
            Err(status) => {
                shared.failed.fetch_add(1, Relaxed);
                *tally.unknown.entry(failure::name(status.code()).to_owned()).or_default() += 1;
            }
        }
    }
    tally
}

/// Places an order and waits for its end, repeating with the same key while that may help.
pub(in super::super) async fn until_ended(
    client: &mut OrdersClient<Channel>,
    order: &PlaceOrderRequest,
    repeats: &mut u64,
) -> Result<PlaceOrderResponse, Status> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let mut request = Request::new(order.clone());
        request.set_timeout(CALL_TIMEOUT);
        let (status, advice) = match client.place_order(request).await.map_err(told_apart) {
            Ok(answer) if orders::has_ended(answer.get_ref().status) => {
                return Ok(answer.into_inner());
            }
            // The server waits only so long: asking again is waiting on.
            Ok(_) => (Status::new(Code::DeadlineExceeded, "the order has not ended"), None),
            Err(status) if may_retry(&status) => {
                let advice = retry_delay(&status.get_error_details());
                (status, advice)
            }
            Err(status) => return Err(status),
        };
        if start.elapsed() >= ORDER_TIMEOUT {
            return Err(status);
        }
        *repeats += 1;
        sleep(advice.unwrap_or(pause).min(LONGEST_PAUSE)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

struct BenchOrder {
    request: PlaceOrderRequest,
    is_declined: bool,
}

impl Shared {
    fn order(&self, number: u64) -> BenchOrder {
        let is_declined = is_declined(number, self.decline_percent);
        let request = PlaceOrderRequest {
            idempotency_key: format!("bench/{}/{number}", self.run),
            customer: format!("bench-{}", number % 100),
            lines: vec![Line { sku: sku(number.wrapping_mul(STRIDE) % self.skus), quantity: 1 }],
            payment_token: if is_declined { "tok_declined" } else { "tok_approved" }.to_owned(),
            expected_total: None,
            wait: true,
        };
        BenchOrder { request, is_declined }
    }
}

/// Exactly so many of each hundred orders, and not one after the other.
fn is_declined(number: u64, percent: u64) -> bool {
    number.wrapping_mul(STRIDE) % 100 < percent
}

impl Tally {
    fn new() -> Self {
        Self {
            sent: 0,
            confirmed: 0,
            declined: 0,
            unexpected: BTreeMap::new(),
            unknown: BTreeMap::new(),
            repeats: 0,
            in_time: 0,
            elapsed: Duration::ZERO,
            latency_micros: Histogram::new_with_max(SLOWEST_MICROS, DIGITS)
                .expect("the range and the precision are valid"),
        }
    }

    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.confirmed += other.confirmed;
        self.declined += other.declined;
        for (how, count) in other.unexpected {
            *self.unexpected.entry(how).or_default() += count;
        }
        for (code, count) in other.unknown {
            *self.unknown.entry(code).or_default() += count;
        }
        self.repeats += other.repeats;
        self.in_time += other.in_time;
        self.latency_micros.add(other.latency_micros).expect("both have the same range");
    }

    fn ended(&mut self, is_declined: bool, end: &PlaceOrderResponse) {
        let (asked_for, pile) = if is_declined {
            (OrderStatus::Rejected, &mut self.declined)
        } else {
            (OrderStatus::Confirmed, &mut self.confirmed)
        };
        if OrderStatus::try_from(end.status) == Ok(asked_for) {
            *pile += 1;
        } else {
            let card = if is_declined { "declined" } else { "approved" };
            let how =
                format!("{} {}, card {card}", orders::status_name(end.status), end.reason_code);
            *self.unexpected.entry(how).or_default() += 1;
        }
    }

    /// How many are in each pile.
    pub(super) fn piled(&self) -> u64 {
        self.confirmed
            + self.declined
            + self.unexpected.values().sum::<u64>()
            + self.unknown.values().sum::<u64>()
    }

    /// Sagas that ended in time, per second.
    pub(super) fn rate(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.in_time as f64 / seconds } else { 0.0 }
    }

    #[cfg(test)]
    pub(super) fn of(confirmed: u64, declined: u64) -> Self {
        Self { sent: confirmed + declined, confirmed, declined, ..Self::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_asked_share_of_each_hundred_is_declined() {
        for percent in [0, 1, 10, 50, 100] {
            let declined = (300..400).filter(|&n| is_declined(n, percent)).count();
            assert_eq!(declined as u64, percent);
        }
    }

    #[test]
    fn an_end_that_the_card_did_not_ask_for_is_unexpected() {
        let end = |status: OrderStatus| PlaceOrderResponse {
            status: status.into(),
            reason_code: "X".to_owned(),
            ..Default::default()
        };
        let mut tally = Tally::new();
        tally.ended(false, &end(OrderStatus::Confirmed));
        tally.ended(true, &end(OrderStatus::Rejected));
        tally.ended(false, &end(OrderStatus::Rejected));
        tally.ended(true, &end(OrderStatus::Confirmed));
        assert_eq!((tally.confirmed, tally.declined, tally.piled()), (1, 1, 4));
        let unexpected: Vec<_> = tally.unexpected.keys().map(String::as_str).collect();
        assert_eq!(unexpected, ["CONFIRMED X, card declined", "REJECTED X, card approved"]);
    }
}
