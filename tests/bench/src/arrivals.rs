//! The arrival times of an open loop's orders: at a constant rate, however long earlier ones take.

use std::time::{Duration, Instant};

/// Instants at a constant distance. An order's latency counts from *its* instant and not from the
/// moment at which it is placed. So if the system (or this process) stalls, the orders of that time
/// have waited, and the latencies show it.
pub(super) struct Arrivals {
    rate: f64,
    began: Instant,
    until: Instant,
    taken: u64,
}

impl Arrivals {
    /// Arrivals at `rate` per second, for `time` from `began`.
    pub(super) fn new(rate: f64, began: Instant, time: Duration) -> Self {
        Self { rate, began, until: began + time, taken: 0 }
    }

    /// Returns the next instant, or `None` when the time is over.
    pub(super) fn next(&self) -> Option<Instant> {
        let at = self.began + Duration::from_secs_f64(self.taken as f64 / self.rate);
        (at < self.until).then_some(at)
    }

    /// Takes the next instant if it has passed. Call it until it returns `None`: after a stall
    /// there are many.
    pub(super) fn due(&mut self, now: Instant) -> Option<Instant> {
        let at = self.next().filter(|at| *at <= now)?;
        self.taken += 1;
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn they_come_at_the_rate_and_end_in_time() {
        let began = Instant::now();
        let mut arrivals = Arrivals::new(100.0, began, Duration::from_secs(2));
        let end = began + Duration::from_secs(60);
        let all: Vec<_> = std::iter::from_fn(|| arrivals.due(end)).collect();
        assert_eq!(all.len(), 200);
        assert_eq!(all[0], began);
        assert_eq!(all[150] - began, 1_500 * MILLI);
        assert_eq!(arrivals.next(), None);
    }

    #[test]
    fn who_would_have_come_during_a_stall_has_waited_since() {
        let began = Instant::now();
        let mut arrivals = Arrivals::new(1_000.0, began, Duration::from_secs(10));
        assert_eq!(arrivals.due(began), Some(began));
        assert_eq!(arrivals.due(began), None, "the next one has not come");
        // A server that answers within a millisecond stalls for a second, and the loop with it.
        // Counted from their placing, all orders would have taken a millisecond.
        let (resumed, mut latencies) = (began + 1_000 * MILLI, Vec::new());
        while let Some(at) = arrivals.due(resumed) {
            latencies.push((resumed + MILLI) - at);
        }
        assert_eq!(latencies.len(), 1_000);
        assert_eq!(latencies[0], 1_000 * MILLI);
        assert_eq!(latencies[499], 501 * MILLI);
        assert_eq!(latencies[999], MILLI);
    }
}
