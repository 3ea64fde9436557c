//! Faults that callers can switch on: an outage for a while, and a delay of every call. They are
//! kept only in memory, so a restart ends them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::request::{self, Malformed};

/// The longest outage that can be set.
const MAX_OUTAGE: Duration = Duration::from_secs(600);
/// The longest delay that can be set.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// The faults that are switched on.
#[derive(Default)]
pub(crate) struct Faults {
    ordered: Mutex<Ordered>,
}

#[derive(Default, Clone, Copy)]
struct Ordered {
    outage_until: Option<Instant>,
    delay: Duration,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutageBody {
    seconds: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DelayBody {
    millis: u64,
}

impl Faults {
    /// Starts an outage. The body is `{seconds}`: how long it lasts. It replaces an earlier outage.
    pub(crate) fn order_outage(&self, body: &[u8]) -> Result<(), Malformed> {
        let OutageBody { seconds } = request::parse(body, "seconds")?;
        let outage = bounded(Duration::from_secs(seconds), MAX_OUTAGE)?;
        self.change(|ordered| ordered.outage_until = Some(Instant::now() + outage));
        Ok(())
    }

    /// Sets the delay of each call until it is set again. The body is `{millis}`.
    pub(crate) fn order_delay(&self, body: &[u8]) -> Result<(), Malformed> {
        let DelayBody { millis } = request::parse(body, "millis")?;
        let delay = bounded(Duration::from_millis(millis), MAX_DELAY)?;
        self.change(|ordered| ordered.delay = delay);
        Ok(())
    }

    pub(crate) fn in_outage(&self) -> bool {
        self.now().outage_until.is_some_and(|until| Instant::now() < until)
    }

    pub(crate) fn delay(&self) -> Duration {
        self.now().delay
    }

    fn now(&self) -> Ordered {
        *self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Ordered)) {
        change(&mut self.ordered.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn bounded(asked: Duration, most: Duration) -> Result<Duration, Malformed> {
    if asked <= most { Ok(asked) } else { Err(Malformed::Duration) }
}
