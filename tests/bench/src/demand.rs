//! The orders of a run. They are derived from numbers, so that every run places the same orders.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use saga_proto::{shop::v1::PlaceOrderRequest, types::v1::Line};
use uuid::Uuid;

use super::stock::sku;

/// A step without a common divisor with 100: a hundred such steps visit each number below 100.
const STRIDE: u64 = 7919;
/// The payment token that the provider declines.
pub(super) const DECLINED: &str = "tok_declined";
/// One product in this many is hot …
const PRODUCTS_A_HOT_ONE: u64 = 100;
/// … and one order in this many is for a hot product.
const ORDERS_A_HOT_ONE: u64 = 2;

/// The orders of a run, one after the other.
pub(super) struct Demand {
    run: Uuid,
    pub(super) skus: u64,
    decline_percent: u64,
    placed: AtomicU64,
}

/// One order of a run.
pub(super) struct Wanted {
    pub(super) request: PlaceOrderRequest,
    /// Whether its card is declined. If so, the order must end REJECTED.
    pub(super) is_declined: bool,
}

impl Demand {
    pub(super) fn new(run: Uuid, skus: u64, decline_percent: u64) -> Self {
        Self { run, skus, decline_percent, placed: AtomicU64::new(0) }
    }

    /// Returns the next order, with a key of its own.
    pub(super) fn next(&self) -> Wanted {
        let number = self.placed.fetch_add(1, Relaxed);
        let is_declined = is_declined(number, self.decline_percent);
        let request = PlaceOrderRequest {
            idempotency_key: format!("bench/{}/{number}", self.run),
            customer: format!("bench-{}", number % 100),
            lines: vec![Line { sku: sku(product(number, self.skus)), quantity: 1 }],
            payment_token: if is_declined { DECLINED } else { "tok_approved" }.to_owned(),
            expected_total: None,
            wait: true,
        };
        Wanted { request, is_declined }
    }
}

/// Returns whether an order is declined: exactly `percent` of each hundred orders, spread out.
fn is_declined(number: u64, percent: u64) -> bool {
    number.wrapping_mul(STRIDE) % 100 < percent
}

/// Returns the number of an order's product. Every other order is for a hot product, so that the
/// rows of these products are contended.
fn product(number: u64, skus: u64) -> u64 {
    let hot = (skus / PRODUCTS_A_HOT_ONE).max(1);
    let (kind, number) = (number % ORDERS_A_HOT_ONE, number / ORDERS_A_HOT_ONE);
    number.wrapping_mul(STRIDE) % if kind == 0 { hot } else { skus }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn exactly_the_asked_share_of_each_hundred_is_declined() {
        for percent in [0, 1, 10, 50, 100] {
            let declined = (300..400).filter(|&n| is_declined(n, percent)).count();
            assert_eq!(declined as u64, percent);
        }
    }

    #[test]
    fn half_of_the_orders_want_one_of_the_hot_hundredth_and_every_product_is_wanted() {
        let mut wanted: BTreeMap<u64, u64> = BTreeMap::new();
        for number in 0..20_000 {
            *wanted.entry(product(number, 1_000)).or_default() += 1;
        }
        assert_eq!(wanted.len(), 1_000);
        let hot: u64 = wanted.range(..10).map(|(_, count)| count).sum();
        assert!((10_000..10_200).contains(&hot), "{hot}");
        assert_eq!(product(7, 1), 0, "one product is enough");
    }

    #[test]
    fn every_order_has_a_key_of_its_own() {
        let demand = Demand::new(Uuid::nil(), 10, 10);
        let keys: std::collections::BTreeSet<_> =
            (0..500).map(|_| demand.next().request.idempotency_key).collect();
        assert_eq!(keys.len(), 500);
    }
}
