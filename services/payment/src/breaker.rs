//! The circuit breaker before the provider: after several failures in a row
//! nobody asks for a while, then one call tries.
//!
//! The state machine is `failsafe`'s. It does not say how long it stays open and
//! lets everybody through when half-open; both are added here.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use failsafe::{FailurePolicy, Instrument, StateMachine, failure_policy};
use metrics::gauge;
use tracing::{info, warn};

/// When the breaker opens, and for how long.
#[derive(Clone, Debug)]
pub struct BreakerSettings {
    /// Failures in a row that open it.
    pub failures: u32,
    /// How long it stays open at first; doubles with each probe that fails.
    pub first_pause: Duration,
    /// How long it stays open at most.
    pub longest_pause: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
        }
    }
}

/// Whether the provider can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It answers.
    Closed,
    /// One call is trying it, or the next one will.
    HalfOpen,
    /// It failed too often.
    Open {
        /// How long until it is tried.
        remaining: Duration,
    },
}

impl Availability {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open { .. } => "open",
        }
    }
}

pub(crate) struct Breaker {
    inner: Mutex<Inner>,
    seen: Arc<Mutex<Seen>>,
}

struct Inner {
    machine: StateMachine<Policy, Watch>,
    /// Whether the one call that tries a half-open breaker is under way.
    probing: bool,
}

/// What the state machine was seen to do.
struct Seen {
    pause: Duration,
    state: SeenState,
}

#[derive(Clone, Copy)]
enum SeenState {
    Closed,
    HalfOpen,
    Open { until: Instant },
}

impl Breaker {
    pub(crate) fn new(settings: &BreakerSettings) -> Self {
        let pauses = Pauses { next: settings.first_pause, longest: settings.longest_pause };
        let seen =
            Arc::new(Mutex::new(Seen { pause: settings.first_pause, state: SeenState::Closed }));
        let policy = Policy {
            policy: failure_policy::consecutive_failures(settings.failures, pauses),
            seen: Arc::clone(&seen),
        };
        let watch = Watch(Arc::clone(&seen));
        watch.now(SeenState::Closed);
        let machine = StateMachine::new(policy, watch);
        Self { inner: Mutex::new(Inner { machine, probing: false }), seen }
    }

    /// Leave to make one call, or how long to wait for it.
    pub(crate) fn permit(&self) -> Result<Permit<'_>, Duration> {
        let mut inner = lock(&self.inner);
        if inner.probing || !inner.machine.is_call_permitted() {
            return Err(match self.availability() {
                Availability::Open { remaining } => remaining,
                Availability::Closed | Availability::HalfOpen => Duration::ZERO,
            });
        }
        let probe = matches!(lock(&self.seen).state, SeenState::HalfOpen);
        inner.probing = probe;
        Ok(Permit { breaker: self, probe })
    }

    pub(crate) fn availability(&self) -> Availability {
        match lock(&self.seen).state {
            SeenState::Closed => Availability::Closed,
            SeenState::HalfOpen => Availability::HalfOpen,
            SeenState::Open { until } => {
                // Once its time is up, whoever comes next is let through: say so,
                // or nobody might come.
                match until.saturating_duration_since(Instant::now()) {
                    Duration::ZERO => Availability::HalfOpen,
                    remaining => Availability::Open { remaining },
                }
            }
        }
    }
}

/// Leave to make one call. Dropped without a verdict (the call was cancelled),
/// it counts as nothing, and another call may try.
#[must_use = "dropped, it leaves its place to the next call"]
pub(crate) struct Permit<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

impl Permit<'_> {
    /// The provider answered.
    pub(crate) fn answered(self) {
        lock(&self.breaker.inner).machine.on_success();
    }

    /// It did not, or with 5xx.
    pub(crate) fn failed(self) {
        lock(&self.breaker.inner).machine.on_error();
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.probe {
            lock(&self.breaker.inner).probing = false;
        }
    }
}

/// Doubles up to its bound. `failsafe`'s own takes whole seconds only.
#[derive(Clone, Debug)]
struct Pauses {
    next: Duration,
    longest: Duration,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.next.min(self.longest);
        self.next = pause.saturating_mul(2);
        Some(pause)
    }
}

/// Consecutive failures; notes how long the breaker will be open.
struct Policy {
    policy: failure_policy::ConsecutiveFailures<Pauses>,
    seen: Arc<Mutex<Seen>>,
}

impl FailurePolicy for Policy {
    fn record_success(&mut self) {
        self.policy.record_success();
    }

    fn mark_dead_on_failure(&mut self) -> Option<Duration> {
        let pause = self.policy.mark_dead_on_failure();
        if let Some(pause) = pause {
            lock(&self.seen).pause = pause;
        }
        pause
    }

    fn revived(&mut self) {
        self.policy.revived();
    }
}

/// Notes and tells what the state machine does.
struct Watch(Arc<Mutex<Seen>>);

impl Watch {
    fn now(&self, state: SeenState) -> Duration {
        let mut seen = lock(&self.0);
        seen.state = state;
        gauge!("saga_payment_breaker_state").set(match state {
            SeenState::Closed => 0.0,
            SeenState::HalfOpen => 1.0,
            SeenState::Open { .. } => 2.0,
        });
        seen.pause
    }
}

impl Instrument for Watch {
    fn on_call_rejected(&self) {}

    fn on_open(&self) {
        let pause = lock(&self.0).pause;
        self.now(SeenState::Open { until: Instant::now() + pause });
        warn!(?pause, "the payment provider failed too often and is left alone for a while");
    }

    fn on_half_open(&self) {
        self.now(SeenState::HalfOpen);
        info!("one call tries the payment provider");
    }

    fn on_closed(&self) {
        self.now(SeenState::Closed);
        info!("the payment provider is asked");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while holding one; if it did, the state would still be whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_millis(20);
    /// So long that no test sees its end, however busy the machine is.
    const LONG: Duration = Duration::from_secs(600);

    fn breaker(pause: Duration) -> Breaker {
        Breaker::new(&BreakerSettings { failures: 2, first_pause: pause, longest_pause: pause * 3 })
    }

    fn fail(breaker: &Breaker) {
        breaker.permit().expect("permitted").failed();
    }

    fn wait(breaker: &Breaker) {
        while let Availability::Open { remaining } = breaker.availability() {
            std::thread::sleep(remaining + Duration::from_millis(1));
        }
        // The state machine's clock was read a little later than ours.
        std::thread::sleep(Duration::from_millis(2));
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
            matches!(breaker.availability(), Availability::Open { remaining } if remaining <= LONG)
        );
        assert!(breaker.permit().is_err());
    }

    #[test]
    fn half_open_lets_one_call_through_and_its_answer_closes_it() {
        let breaker = breaker(PAUSE);
        fail(&breaker);
        fail(&breaker);
        wait(&breaker);
        assert_eq!(breaker.availability(), Availability::HalfOpen);
        let probe = breaker.permit().expect("the probe");
        assert!(breaker.permit().is_err(), "only one");
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
            let seen = lock(&breaker.seen);
            assert!(matches!(seen.state, SeenState::Open { .. }), "a failed probe opens it");
            assert_eq!(seen.pause, longest);
        }
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
}
