//! Faults on demand: an outage for a while, a delay of every call. They are kept in memory only, so
//! a restart ends them.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::request::{self, Malformed};

/// The longest outage that can be asked for.
const MAX_OUTAGE: Duration = Duration::from_secs(600);
/// The longest delay that can be asked for.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// The faults that are ordered now.
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
    /// `{seconds}`: from now on, for this long. A later order replaces it.
    pub(crate) fn order_outage(&self, body: &[u8]) -> Result<(), Malformed> {
        let OutageBody { seconds } = request::parse(body, "seconds")?;
        let outage = bounded(Duration::from_secs(seconds), MAX_OUTAGE)?;
        self.change(|ordered| ordered.outage_until = Some(Instant::now() + outage));
        Ok(())
    }

    /// `{millis}`: until another order.
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
