//! The circuit breaker for calls to the provider. After several failures in a row no call is sent
//! for a while; then a single call probes the provider.
//!
//! The breaker uses the runtime's clock, like every other timer of the service, so that a
//! simulation can control it.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use metrics::gauge;
use tokio::time::Instant;
use tracing::{info, warn};

/// Settings of the breaker.
#[derive(Clone, Debug)]
pub struct BreakerSettings {
    /// Number of failures in a row that open the breaker.
    pub failures: u32,
    /// Time that the breaker stays open at first. It doubles with each probe that fails.
    pub first_pause: Duration,
    /// Longest time that the breaker stays open.
    pub longest_pause: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            first_pause: Duration::from_secs(1),
            // A probe costs only one look-up, and orders are refused until a probe is answered.
            longest_pause: Duration::from_secs(10),
        }
    }
}

/// The breaker's state, for callers that only read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// The provider answers.
    Closed,
    /// One call is probing the provider, or the next one will.
    HalfOpen {
        /// Time since the breaker opened.
        away: Duration,
    },
    /// The provider failed too often, and is not called.
    Open {
        /// Time since the breaker first opened. Failed probes do not restart it.
        away: Duration,
        /// Time until the next probe.
        remaining: Duration,
    },
}

impl Availability {
    /// Returns the state as text, for the gRPC answer.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen { .. } => "half-open",
            Self::Open { .. } => "open",
        }
    }
}

pub(crate) struct Breaker {
    settings: BreakerSettings,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Calls are allowed. `failures` counts the calls in a row that have failed.
    Closed { failures: u32 },
    /// No call is allowed before `until`. `pause` is the time from opening until then, and `since`
    /// the moment at which the breaker first opened.
    Open { since: Instant, until: Instant, pause: Duration },
    /// One call probes the provider, or the next one will. `pause` is the time that the breaker was
    /// open.
    HalfOpen { since: Instant, pause: Duration, probing: bool },
}

impl Breaker {
    pub(crate) fn new(settings: &BreakerSettings) -> Self {
        let state = State::Closed { failures: 0 };
        show(state);
        Self { settings: settings.clone(), state: Mutex::new(state) }
    }

    /// Returns a permit for one call, or the time after which to ask again.
    pub(crate) fn permit(&self) -> Result<Permit<'_>, Duration> {
        let mut state = self.lock();
        let (since, pause) = match *state {
            State::Closed { .. } => return Ok(Permit { breaker: self, probe: false }),
            State::HalfOpen { probing: true, .. } => return Err(Duration::ZERO),
            State::HalfOpen { since, pause, probing: false } => (since, pause),
            State::Open { since, until, pause } => match remaining(until) {
                Some(remaining) => return Err(remaining),
                None => {
                    info!("one call tries the payment provider");
                    (since, pause)
                }
            },
        };
        *state = State::HalfOpen { since, pause, probing: true };
        show(*state);
        Ok(Permit { breaker: self, probe: true })
    }

    pub(crate) fn availability(&self) -> Availability {
        match *self.lock() {
            State::Closed { .. } => Availability::Closed,
            State::HalfOpen { since, .. } => Availability::HalfOpen { away: since.elapsed() },
            // Once its time is up, the breaker lets the next call through. It must report that, or
            // no caller might send one.
            State::Open { since, until, .. } => {
                let away = since.elapsed();
                remaining(until).map_or(Availability::HalfOpen { away }, |remaining| {
                    Availability::Open { away, remaining }
                })
            }
        }
    }

    /// Returns true if the next call would be the probe.
    pub(crate) fn is_due(&self) -> bool {
        match *self.lock() {
            State::Closed { .. } => false,
            State::HalfOpen { probing, .. } => !probing,
            State::Open { until, .. } => remaining(until).is_none(),
        }
    }

    fn answered(&self) {
        let mut state = self.lock();
        match *state {
            State::Closed { .. } => *state = State::Closed { failures: 0 },
            State::HalfOpen { .. } => {
                *state = State::Closed { failures: 0 };
                show(*state);
                info!("the payment provider is asked");
            }
            // This call was sent before the breaker opened. The failures since then count more than
            // its answer.
            State::Open { .. } => {}
        }
    }

    fn failed(&self, probe: bool) {
        let mut state = self.lock();
        let now = Instant::now();
        let (since, pause) = match *state {
            State::Closed { failures } if failures + 1 < self.settings.failures => {
                *state = State::Closed { failures: failures + 1 };
                return;
            }
            State::Closed { .. } => (now, self.settings.first_pause),
            State::HalfOpen { since, pause, .. } if probe => (since, pause.saturating_mul(2)),
            // This call was sent before the breaker opened, so its failure adds nothing new.
            State::HalfOpen { .. } | State::Open { .. } => return,
        };
        let pause = pause.min(self.settings.longest_pause);
        *state = State::Open { since, until: now + pause, pause };
        show(*state);
        warn!(?pause, "the payment provider failed too often and is left alone for a while");
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while holding the lock. Even if it did, the state would still be sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A permit for one call. A permit that is dropped without an outcome, because the call was
/// cancelled, does not count, and another call may probe.
#[must_use = "dropped, it leaves its place to the next call"]
pub(crate) struct Permit<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

impl Permit<'_> {
    /// Records that the provider answered.
    pub(crate) fn answered(self) {
        self.breaker.answered();
    }

    /// Records that the provider did not answer, or answered with 5xx.
    pub(crate) fn failed(self) {
        self.breaker.failed(self.probe);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.probe
            && let State::HalfOpen { probing, .. } = &mut *self.breaker.lock()
        {
            *probing = false;
        }
    }
}

fn remaining(until: Instant) -> Option<Duration> {
    Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
}

fn show(state: State) {
    gauge!("saga_payment_breaker_state").set(match state {
        State::Closed { .. } => 0.0,
        State::HalfOpen { .. } => 1.0,
        State::Open { .. } => 2.0,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(20);
    /// Longer than any test runs, however busy the machine is.
    const LONG: Duration = Duration::from_secs(600);

    fn breaker(pause: Duration) -> Breaker {
        Breaker::new(&BreakerSettings { failures: 2, first_pause: pause, longest_pause: pause * 3 })
    }

    fn fail(breaker: &Breaker) {
        breaker.permit().expect("permitted").failed();
    }

    fn wait(breaker: &Breaker) {
        while let Availability::Open { remaining, .. } = breaker.availability() {
            std::thread::sleep(remaining + Duration::from_millis(1));
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_them_does_not() {
        let breaker = breaker(LONG);
        fail(&breaker);
        breaker.permit().expect("permitted").answered();
        fail(&breaker);
        assert_eq!(breaker.availability(), Availability::Closed);
        fail(&breaker);
        assert!(
            matches!(breaker.availability(), Availability::Open { remaining, .. } if remaining <= LONG)
        );
        assert!(breaker.permit().is_err());
    }

    #[test]
    fn half_open_lets_one_call_through_and_its_answer_closes_it() {
        let breaker = breaker(PAUSE);
        fail(&breaker);
        fail(&breaker);
        wait(&breaker);
        assert!(matches!(breaker.availability(), Availability::HalfOpen { .. }));
        assert!(breaker.is_due());
        let probe = breaker.permit().expect("the probe");
        assert!(breaker.permit().is_err(), "only one");
        assert!(!breaker.is_due());
        probe.answered();
        assert_eq!(breaker.availability(), Availability::Closed);
        assert!(breaker.permit().is_ok());
    }

    #[test]
    fn a_probe_that_fails_doubles_the_pause_up_to_its_bound() {
        let breaker = breaker(PAUSE);
        fail(&breaker);
        fail(&breaker);
        for longest in [PAUSE * 2, PAUSE * 3, PAUSE * 3] {
            wait(&breaker);
            fail(&breaker);
            let State::Open { pause, .. } = *breaker.lock() else {
                panic!("a failed probe opens it");
            };
            assert_eq!(pause, longest);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_says_how_long_the_provider_has_been_away_in_all_and_not_since_the_last_probe() {
        let settings = BreakerSettings::default();
        let breaker = Breaker::new(&settings);
        let opened = Instant::now();
        for _ in 0..settings.failures {
            fail(&breaker);
        }
        while opened.elapsed() < Duration::from_secs(120) {
            let (Availability::Open { away, .. } | Availability::HalfOpen { away }) =
                breaker.availability()
            else {
                panic!("nobody has answered");
            };
            assert_eq!(away, opened.elapsed());
            if breaker.is_due() {
                fail(&breaker);
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        tokio::time::sleep(settings.longest_pause).await;
        breaker.permit().expect("the probe").answered();
        assert_eq!(breaker.availability(), Availability::Closed);
    }

    #[test]
    fn a_cancelled_probe_leaves_its_place_to_the_next() {
        let breaker = breaker(PAUSE);
        fail(&breaker);
        fail(&breaker);
        wait(&breaker);
        drop(breaker.permit().expect("the probe"));
        assert!(breaker.permit().is_ok());
    }

    #[test]
    fn who_asked_before_it_opened_neither_closes_it_nor_prolongs_it() {
        let breaker = breaker(PAUSE);
        let [first, second, third] = [(); 3].map(|()| breaker.permit().expect("permitted"));
        fail(&breaker);
        fail(&breaker);
        let opened = *breaker.lock();
        first.answered();
        second.failed();
        assert_eq!(*breaker.lock(), opened);
        wait(&breaker);
        let _probe = breaker.permit().expect("the probe");
        third.failed();
        let now = breaker.availability();
        assert!(matches!(now, Availability::HalfOpen { .. }), "the probe decides, not {now:?}");
    }
}
