//! `saga load`: places a steady mix of orders, so that there is something to see.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use saga_proto::{
    shop::v1::{
        PlaceOrderRequest, PlaceOrderResponse, catalogue_client::CatalogueClient,
        orders_client::OrdersClient,
    },
    types::v1::Line,
};
use serde_json::json;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, interval_at},
};
use tonic::{Status, transport::Channel};
use uuid::Uuid;

use saga_cli::{Connection, Console, Failure, Verdict, code_name};

use super::{
    again::{self, Patience},
    goods::{self, Goods, SHOP},
    orders,
};
use crate::signals::StopSignals;

const EXAMPLES: &str = "\
Examples:
  saga load
  saga load --rate 20 --seconds 60
  saga load --rate 0.5 --json

It keeps its own products in stock, and asks again with the same key when nobody answers. It
ends after --seconds, on SIGINT or on SIGTERM, once the orders under way have ended; a second
signal ends it at once. Exit code 1 says that it does not know how some order ended.";

/// Quantity of each product in one receipt.
const RECEIPT: i64 = 1_000;
/// Number of orders for each receipt. An order takes one or two of one product, so together they
/// take less than was received.
const ORDERS_A_RECEIPT: u64 = 1_000;
/// A quantity that is never in stock.
const TOO_MUCH: i64 = 1_000_000;
/// The greatest latency that is recorded, and below it the precision in digits.
const SLOWEST_MICROS: u64 = 120_000_000;
const DIGITS: u8 = 2;

/// Places orders at a steady rate: most can be paid, some cannot, some ask for too much.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Load {
    /// How many orders a second
    #[arg(long, default_value_t = 2.0, value_name = "N", value_parser = rate)]
    rate: f64,
    /// End after so long; otherwise it goes on until it is told to stop
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
    /// So many orders at once; while as many are under way, none is placed
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=20_000))]
    in_flight: u32,
    /// How often to say how it goes
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    every: u64,
    #[command(flatten)]
    pub(super) connection: Connection,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1_000.0).contains(&rate) => Ok(rate),
        Ok(_) | Err(_) => Err("a number from 0.01 to 1000".to_owned()),
    }
}

/// The kinds of order in the mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// An order that is paid with this card.
    Card(&'static str),
    /// An order for more of a product than is in stock.
    TooMuch,
}

/// The mix: twenty orders, placed in this sequence again and again.
const MIX: [Wish; 20] = {
    use Wish::{Card, TooMuch};
    const FINE: Wish = Card("tok_approved");
    [
        FINE,
        FINE,
        FINE,
        Card("tok_declined"),
        FINE,
        FINE,
        Card("tok_slow"),
        FINE,
        FINE,
        TooMuch,
        FINE,
        FINE,
        Card("tok_answer_lost"),
        FINE,
        Card("tok_insufficient_funds"),
        FINE,
        FINE,
        Card("tok_capture_declined"),
        FINE,
        FINE,
    ]
};

/// Counts the orders by their outcomes.
struct Tally {
    placed: u64,
    /// Orders that were not placed, because too many were in progress.
    held_back: u64,
    /// Number of orders for each kind of end.
    ends: BTreeMap<String, u64>,
    /// Number of orders with an unknown end, for each gRPC code.
    unknown: BTreeMap<&'static str, u64>,
    /// Calls that were repeated, with the same key.
    repeats: u64,
    latency_micros: Histogram<u64>,
}

/// One order's end, how long it took, and how many calls were repeated.
struct Ended {
    end: Result<PlaceOrderResponse, Status>,
    took: Duration,
    repeats: u64,
}

impl Load {
    pub(super) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let mut signals = StopSignals::listen()?;
        let run = Uuid::now_v7();
        let channel = self.connection.channel();
        let start = Instant::now();
        let end = start + Duration::from_secs(self.seconds.unwrap_or(86_400 * 365));
        let mut next = interval(Duration::from_secs_f64(self.rate.recip()));
        next.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let every = Duration::from_secs(self.every);
        let mut report = interval_at(start + every, every);
        let room = Arc::new(Semaphore::new(self.in_flight as usize));
        let mut under_way = JoinSet::new();
        let mut tally = Tally::new();
        let mut placing = true;
        while placing || !under_way.is_empty() {
            tokio::select! {
                () = signals.next() => if !std::mem::take(&mut placing) { break },
                () = tokio::time::sleep_until(end), if placing => placing = false,
                Some(ended) = under_way.join_next() => {
                    tally.add(ended.map_err(std::io::Error::other)?);
                }
                _ = next.tick(), if placing => {
                    let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                        tally.held_back += 1;
                        continue;
                    };
                    let (number, channel) = (tally.placed, channel.clone());
                    tally.placed += 1;
                    under_way.spawn(async move {
                        let ended = place(channel, run, number).await;
                        drop(permit);
                        ended
                    });
                }
                _ = report.tick() => tally.tell(console, start.elapsed(), under_way.len())?,
            }
        }
        *tally.unknown.entry("STOPPED").or_default() += under_way.len() as u64;
        tally.unknown.retain(|_, count| *count > 0);
        tally.tell(console, start.elapsed(), 0)?;
        Ok(if tally.unknown.is_empty() { Verdict::Done } else { Verdict::Refused })
    }
}

/// Places an order and waits for its end. The first of every [`ORDERS_A_RECEIPT`] orders first
/// receives the stock for all of them.
async fn place(channel: Channel, run: Uuid, number: u64) -> Ended {
    let start = Instant::now();
    let mut repeats = 0;
    let ending = async {
        if number.is_multiple_of(ORDERS_A_RECEIPT) {
            let catalogue = CatalogueClient::new(channel.clone());
            let key = format!("load/{run}/{number}");
            goods::receive(&catalogue, Goods::shop(RECEIPT), &key).await?;
        }
        let (orders, order) = (OrdersClient::new(channel), order(run, number));
        again::place(&orders, &order, Patience::default(), &mut repeats).await
    };
    let end = ending.await;
    Ended { end, took: start.elapsed(), repeats }
}

fn order(run: Uuid, number: u64) -> PlaceOrderRequest {
    // The shift by `round` pairs each product with each kind of order over time.
    let (round, place) = (number / MIX.len() as u64, number % MIX.len() as u64);
    let (sku, _, _) = SHOP[((place + round) % SHOP.len() as u64) as usize];
    let (quantity, token) = match MIX[place as usize] {
        Wish::Card(token) => (1 + (number % 2) as i64, token),
        Wish::TooMuch => (TOO_MUCH, "tok_approved"),
    };
    PlaceOrderRequest {
        idempotency_key: format!("load/{run}/{number}"),
        customer: format!("load-{}", number % 10),
        lines: vec![Line { sku: sku.to_owned(), quantity }],
        payment_token: token.to_owned(),
        expected_total: None,
        wait: true,
    }
}

impl Tally {
    fn new() -> Self {
        Self {
            placed: 0,
            held_back: 0,
            ends: BTreeMap::new(),
            unknown: BTreeMap::new(),
            repeats: 0,
            latency_micros: Histogram::new_with_max(SLOWEST_MICROS, DIGITS)
                .expect("the range and the precision are valid"),
        }
    }

    fn add(&mut self, Ended { end, took, repeats }: Ended) {
        self.repeats += repeats;
        match end {
            Ok(end) => {
                let status = orders::status_name(end.status);
                let how = format!("{status} {}", end.reason_code);
                *self.ends.entry(how.trim_end().to_owned()).or_default() += 1;
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                self.latency_micros.saturating_record(micros);
            }
            Err(status) => *self.unknown.entry(code_name(status.code())).or_default() += 1,
        }
    }

    fn tell(
        &self,
        console: &mut Console<'_>,
        elapsed: Duration,
        in_flight: usize,
    ) -> Result<(), Failure> {
        let millis = |quantile| self.latency_micros.value_at_quantile(quantile) as f64 / 1_000.0;
        let (p50, p99) = (millis(0.5), millis(0.99));
        if console.json {
            return console.object(&json!({
                "seconds": elapsed.as_secs(),
                "placed": self.placed,
                "inFlight": in_flight,
                "heldBack": self.held_back,
                "ends": self.ends,
                "unknown": self.unknown,
                "repeatedCalls": self.repeats,
                "latencyMillis": {"p50": p50, "p99": p99},
            }));
        }
        let ends: Vec<_> = self.ends.iter().map(|(how, count)| format!("{count} {how}")).collect();
        let mut line = format!(
            "{:>5} s  {} placed, {in_flight} under way; {}; p50 {p50:.0} ms, p99 {p99:.0} ms",
            elapsed.as_secs(),
            self.placed,
            if ends.is_empty() { "none has ended".to_owned() } else { ends.join(", ") },
        );
        if self.held_back > 0 {
            line += &format!("; {} held back", self.held_back);
        }
        if !self.unknown.is_empty() {
            line += &format!("; nobody knows how {} ended", self.unknown.values().sum::<u64>());
        }
        console.say(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_buys_every_product_in_every_way_and_never_runs_out() {
        let run = Uuid::nil();
        let mut bought = BTreeMap::<_, i64>::new();
        let mut ways = std::collections::BTreeSet::new();
        for number in 0..ORDERS_A_RECEIPT {
            let order = order(run, number);
            let line = order.lines[0].clone();
            ways.insert((line.sku.clone(), order.payment_token, line.quantity == TOO_MUCH));
            if line.quantity != TOO_MUCH {
                *bought.entry(line.sku).or_default() += line.quantity;
            }
        }
        let kinds: std::collections::BTreeSet<_> = MIX.map(|wish| format!("{wish:?}")).into();
        assert_eq!(ways.len(), kinds.len() * SHOP.len());
        assert!(bought.values().all(|&quantity| quantity <= RECEIPT), "{bought:?}");
    }

    #[test]
    fn ends_are_counted_by_how_and_failures_by_why() {
        let mut tally = Tally::new();
        let ended = |end| Ended { end, took: Duration::from_millis(3), repeats: 1 };
        let end = |status: saga_proto::order::v1::OrderStatus, code: &str| PlaceOrderResponse {
            status: status.into(),
            reason_code: code.to_owned(),
            ..Default::default()
        };
        use saga_proto::order::v1::OrderStatus::{Confirmed, Rejected};
        tally.add(ended(Ok(end(Confirmed, ""))));
        tally.add(ended(Ok(end(Rejected, "CARD_DECLINED"))));
        tally.add(ended(Ok(end(Rejected, "CARD_DECLINED"))));
        tally.add(ended(Err(Status::unavailable("nobody is there"))));
        let ends: Vec<_> = tally.ends.iter().map(|(how, count)| (how.as_str(), *count)).collect();
        assert_eq!(ends, [("CONFIRMED", 1), ("REJECTED CARD_DECLINED", 2)]);
        assert_eq!((tally.unknown["UNAVAILABLE"], tally.repeats), (1, 4));
    }

    #[test]
    fn a_rate_is_a_number_within_bounds() {
        assert_eq!(rate("0.5"), Ok(0.5));
        for wrong in ["0", "-1", "1001", "NaN", "inf", "fast", ""] {
            assert!(rate(wrong).is_err(), "{wrong:?}");
        }
    }
}
