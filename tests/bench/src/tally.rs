//! The outcomes of orders: counts and latencies, of one caller or of many.

use std::{collections::BTreeMap, time::Duration};

use hdrhistogram::Histogram;
use saga_proto::{order::v1::OrderStatus, shop::v1::PlaceOrderResponse};
use tonic::{Code, Status};

use saga::client;

/// The end of the histogram's range; slower orders count as this.
const SLOWEST_MICROS: u64 = 600_000_000;
/// The histogram's precision, in decimal digits.
const DIGITS: u8 = 3;
const MICROS_A_MILLI: f64 = 1000.0;

/// Counts of orders by outcome.
#[derive(Clone)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) confirmed: u64,
    /// Orders that were rejected, as their cards require.
    pub(super) declined: u64,
    /// Orders that were refused because the system was too busy. They were never admitted, so they
    /// have no saga.
    pub(super) refused: u64,
    /// Orders that did not end as their cards require: the number for each end.
    pub(super) unexpected: BTreeMap<String, u64>,
    /// Orders whose end is not known: the number for each gRPC code.
    pub(super) unknown: BTreeMap<&'static str, u64>,
    /// Calls that were repeated, with the same key.
    pub(super) repeats: u64,
    /// Latencies of the sagas that ended, in microseconds.
    latency: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            sent: 0,
            confirmed: 0,
            declined: 0,
            refused: 0,
            unexpected: BTreeMap::new(),
            unknown: BTreeMap::new(),
            repeats: 0,
            latency: Histogram::new_with_max(SLOWEST_MICROS, DIGITS)
                .expect("the range and the precision are valid"),
        }
    }

    /// Counts one order and its latency.
    pub(super) fn count(
        &mut self,
        is_declined: bool,
        end: &Result<PlaceOrderResponse, Status>,
        latency: Duration,
    ) {
        self.sent += 1;
        match end {
            Ok(end) => {
                let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
                self.latency.saturating_record(micros);
                self.ended(is_declined, end);
            }
            Err(status) if status.code() == Code::ResourceExhausted => self.refused += 1,
            Err(status) => {
                *self.unknown.entry(saga_cli::code_name(status.code())).or_default() += 1
            }
        }
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
            let how = format!(
                "{} {}, card {card}",
                client::order_status_name(end.status),
                end.reason_code
            );
            *self.unexpected.entry(how).or_default() += 1;
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.confirmed += other.confirmed;
        self.declined += other.declined;
        self.refused += other.refused;
        for (how, count) in &other.unexpected {
            *self.unexpected.entry(how.clone()).or_default() += count;
        }
        for (code, count) in &other.unknown {
            *self.unknown.entry(code).or_default() += count;
        }
        self.repeats += other.repeats;
        self.latency.add(&other.latency).expect("both have the same range");
    }

    /// Sagas that ended.
    pub(super) fn completed(&self) -> u64 {
        self.confirmed + self.declined + self.unexpected.values().sum::<u64>()
    }

    /// Returns the sum of all outcomes.
    pub(super) fn piled(&self) -> u64 {
        self.completed() + self.refused + self.unknown.values().sum::<u64>()
    }

    /// Quantiles of the latency, in milliseconds.
    pub(super) fn latencies(&self) -> [(&'static str, f64); 4] {
        [
            ("p50", self.latency.value_at_quantile(0.5)),
            ("p90", self.latency.value_at_quantile(0.9)),
            ("p99", self.latency.value_at_quantile(0.99)),
            ("max", self.latency.max()),
        ]
        .map(|(name, micros)| (name, micros as f64 / MICROS_A_MILLI))
    }

    #[cfg(test)]
    pub(super) fn of(confirmed: u64, declined: u64) -> Self {
        Self { sent: confirmed + declined, confirmed, declined, ..Self::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(status: OrderStatus) -> Result<PlaceOrderResponse, Status> {
        Ok(PlaceOrderResponse {
            status: status.into(),
            reason_code: "X".to_owned(),
            ..Default::default()
        })
    }

    #[test]
    fn an_end_that_the_card_did_not_ask_for_is_unexpected() {
        let mut tally = Tally::new();
        for (is_declined, status) in [
            (false, OrderStatus::Confirmed),
            (true, OrderStatus::Rejected),
            (false, OrderStatus::Rejected),
            (true, OrderStatus::Confirmed),
        ] {
            tally.count(is_declined, &end(status), Duration::ZERO);
        }
        assert_eq!((tally.confirmed, tally.declined, tally.piled(), tally.sent), (1, 1, 4, 4));
        let unexpected: Vec<_> = tally.unexpected.keys().map(String::as_str).collect();
        assert_eq!(unexpected, ["CONFIRMED X, card declined", "REJECTED X, card approved"]);
    }

    #[test]
    fn who_is_refused_for_want_of_room_has_no_latency_and_is_no_saga() {
        let mut tally = Tally::new();
        let busy = Err(Status::resource_exhausted("too many sagas"));
        tally.count(false, &busy, Duration::from_secs(9));
        tally.count(false, &Err(Status::unavailable("away")), Duration::from_secs(9));
        tally.count(false, &end(OrderStatus::Confirmed), Duration::from_millis(3));
        assert_eq!((tally.refused, tally.completed(), tally.piled()), (1, 1, 3));
        assert_eq!(tally.unknown["UNAVAILABLE"], 1);
        assert!(tally.latencies()[3].1 < 4.0, "{:?}", tally.latencies());
    }

    #[test]
    fn two_callers_latencies_are_merged_not_averaged() {
        let (mut fast, mut slow) = (Tally::new(), Tally::new());
        for _ in 0..90 {
            fast.count(false, &end(OrderStatus::Confirmed), Duration::from_millis(1));
        }
        for _ in 0..10 {
            slow.count(false, &end(OrderStatus::Confirmed), Duration::from_millis(100));
        }
        fast.add(&slow);
        let [(_, p50), (_, p90), (_, p99), (_, max)] = fast.latencies();
        assert!((0.9..1.1).contains(&p50) && (0.9..1.1).contains(&p90), "{p50} {p90}");
        assert!((99.0..101.0).contains(&p99) && (99.0..101.0).contains(&max), "{p99} {max}");
        assert_eq!((fast.sent, fast.confirmed), (100, 100));
    }
}
