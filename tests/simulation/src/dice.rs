//! The random choices of a run. All are drawn from one seed.

use std::{
    ops::RangeInclusive,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The only source of random choices in a run. Each draw changes all later draws. This is
/// repeatable, because one thread runs everything in one order.
#[derive(Debug)]
pub(crate) struct Dice(Mutex<fastrand::Rng>);

impl Dice {
    /// Creates the dice of a seed.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(seed)))
    }

    /// Returns true with this probability, from 0 (never) to 1 (always).
    pub(crate) fn chance(&self, often: f64) -> bool {
        often > 0.0 && self.draw(fastrand::Rng::f64) < often
    }

    /// Draws a number from 0 to `count`, without `count`.
    pub(crate) fn below(&self, count: usize) -> usize {
        self.draw(|rng| rng.usize(0..count))
    }

    /// Picks one of these values.
    pub(crate) fn pick<'a, T>(&self, some: &'a [T]) -> &'a T {
        &some[self.below(some.len())]
    }

    /// Draws a number of milliseconds in this range.
    pub(crate) fn millis(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.draw(|rng| rng.u64(range)))
    }

    /// Draws a number from 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        self.draw(fastrand::Rng::f64)
    }

    /// Draws random bits.
    pub(crate) fn bits(&self) -> u128 {
        self.draw(|rng| rng.u128(..))
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
