//! Chooses the orders to place. The same seed always chooses the same orders.

use crate::client::goods::{Goods, SHOP};

/// The kinds of order. The kind determines how an order must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// An ordinary order.
    Plain,
    /// The provider answers late.
    Slow,
    /// The provider authorises, and its answer is lost.
    AnswerLost,
    /// The provider captures, and its answer is lost.
    CaptureAnswerLost,
    /// The card is declined.
    Declined,
    /// The card has too little money.
    InsufficientFunds,
    /// The card is declined at the capture, after everything else is done.
    CaptureDeclined,
    /// The order asks for more than is in stock.
    OutOfStock,
    /// The client cancels the order while the provider is still working on it.
    Cancelled,
}

/// Number of orders of each kind in a hundred. All others are plain.
const SHARES: [(Kind, u64); 8] = [
    (Kind::Slow, 3),
    (Kind::AnswerLost, 2),
    (Kind::CaptureAnswerLost, 2),
    (Kind::Declined, 8),
    (Kind::InsufficientFunds, 2),
    (Kind::CaptureDeclined, 2),
    (Kind::OutOfStock, 4),
    (Kind::Cancelled, 4),
];

/// A product of which only one piece is received. Orders of the kind `OutOfStock` ask for more.
pub(super) const RARE: &str = "crown";

/// The ways in which an order can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Confirmed,
    /// The order is rejected, for this reason.
    Rejected(&'static str),
    Cancelled,
}

impl Kind {
    /// Returns the kind of the order with this number.
    pub(super) fn of(seed: u64, number: u32) -> Self {
        let mut roll = scatter(seed, number) % 100;
        for (kind, share) in SHARES {
            if roll < share {
                return kind;
            }
            roll -= share;
        }
        Self::Plain
    }

    pub(super) fn token(self) -> &'static str {
        match self {
            Self::Plain | Self::OutOfStock => "tok_approved",
            Self::Slow | Self::Cancelled => "tok_slow",
            Self::AnswerLost => "tok_answer_lost",
            Self::CaptureAnswerLost => "tok_capture_answer_lost",
            Self::Declined => "tok_declined",
            Self::InsufficientFunds => "tok_insufficient_funds",
            Self::CaptureDeclined => "tok_capture_declined",
        }
    }

    pub(super) fn end(self) -> End {
        match self {
            Self::Plain | Self::Slow | Self::AnswerLost | Self::CaptureAnswerLost => End::Confirmed,
            Self::Declined => End::Rejected("CARD_DECLINED"),
            Self::InsufficientFunds => End::Rejected("INSUFFICIENT_FUNDS"),
            Self::CaptureDeclined => End::Rejected("CAPTURE_DECLINED"),
            Self::OutOfStock => End::Rejected("OUT_OF_STOCK"),
            Self::Cancelled => End::Cancelled,
        }
    }

    /// Returns the name of the kind, for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Slow => "slow provider",
            Self::AnswerLost => "answer to the authorisation lost",
            Self::CaptureAnswerLost => "answer to the capture lost",
            Self::Declined => "card declined",
            Self::InsufficientFunds => "insufficient funds",
            Self::CaptureDeclined => "capture declined",
            Self::OutOfStock => "out of stock",
            Self::Cancelled => "cancelled by the client",
        }
    }
}

/// Returns all goods to receive: plenty of each product, and one piece of the rare one.
pub(super) fn catalogue(orders: u32) -> impl Iterator<Item = Goods> {
    let rare =
        Goods { sku: RARE.to_owned(), name: "Crown".to_owned(), cents: 1_000_000, quantity: 1 };
    Goods::shop(i64::from(orders) * 3).chain([rare])
}

/// Returns the lines of the order with this number: one or two products, one to three of each.
pub(super) fn lines(seed: u64, number: u32) -> Vec<(&'static str, i64)> {
    let dice = scatter(seed ^ 0x5EED, number);
    let product = |roll: u64| SHOP[(roll % SHOP.len() as u64) as usize].0;
    let quantity = |roll: u64| 1 + (roll % 3) as i64;
    let (first, second) = (product(dice), product(dice >> 8));
    let mut lines = vec![(first, quantity(dice >> 16))];
    if second != first {
        lines.push((second, quantity(dice >> 24)));
    }
    lines
}

/// Returns `Some` if the order with this number is to be returned after it is confirmed: true for
/// the whole order, false for one piece of it.
pub(super) fn returned(seed: u64, number: u32) -> Option<bool> {
    match scatter(seed ^ 0xBAC4, number) % 100 {
        0..4 => Some(true),
        4..8 => Some(false),
        _ => None,
    }
}

/// Returns a number that looks random but depends only on the arguments (SplitMix64's finaliser).
fn scatter(seed: u64, number: u32) -> u64 {
    let mut mixed = seed.wrapping_add(u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_seed_places_the_same_orders_and_another_seed_others() {
        let kinds =
            |seed| (0..200).map(|n| (Kind::of(seed, n), lines(seed, n))).collect::<Vec<_>>();
        assert_eq!(kinds(1), kinds(1));
        assert_ne!(kinds(1), kinds(2));
    }

    #[test]
    fn every_kind_comes_up_in_a_default_run() {
        for seed in 1..=20 {
            let returned = |whole| (0..500).any(|n| returned(seed, n) == Some(whole));
            assert!(returned(true) && returned(false), "seed {seed}");
            let mut counts: BTreeMap<Kind, u32> = BTreeMap::new();
            for number in 0..500 {
                *counts.entry(Kind::of(seed, number)).or_default() += 1;
            }
            assert_eq!(counts.len(), 9, "seed {seed}: {counts:?}");
            assert!(counts[&Kind::Plain] > 250, "seed {seed}: {counts:?}");
        }
    }
}
