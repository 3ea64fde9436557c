//! The results of a run, and whether they add up.

mod text;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    drive::Run,
    figures::Figures,
    limits::Limits,
    path::{LOCAL_TRANSACTIONS_CONFIRMED, LOCAL_TRANSACTIONS_DECLINED},
    stock::Books,
    tally::Tally,
};
use std::{collections::BTreeMap, time::Duration};

/// All results of a run.
pub(super) struct Report {
    pub(super) run: Uuid,
    /// Describes the measured system.
    pub(super) of: String,
    pub(super) measured: Vec<Measured>,
    /// Load loops that ran for another purpose than a measurement, for example to warm up. The
    /// checks include their orders.
    pub(super) unmeasured: Vec<Run>,
    /// The changes that the catalogue shows.
    pub(super) books: Books,
    /// Events that a consumer received, if there was one.
    pub(super) events: Option<u64>,
    pub(super) limits: Option<Limits>,
}

/// The way in which orders were placed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Load {
    Closed { in_flight: u32 },
    Open { a_second: f64, share: Option<f64> },
}

/// One load, with the result of each round.
pub(super) struct Measured {
    pub(super) load: Load,
    pub(super) rounds: Vec<Run>,
}

/// Returns the rate of the best closed level, in sagas a second.
pub(super) fn saturation(measured: &[Measured]) -> f64 {
    best(measured).map(|(rate, _)| rate).unwrap_or_default()
}

/// Returns the number of orders in flight at the best closed level.
pub(super) fn busiest(measured: &[Measured]) -> u32 {
    best(measured).map_or(1, |(_, in_flight)| in_flight)
}

fn best(measured: &[Measured]) -> Option<(f64, u32)> {
    let levels = measured.iter().filter_map(|this| match this.load {
        Load::Closed { in_flight } => Some((this.medians().get("sagasPerSecond")?, in_flight)),
        Load::Open { .. } => None,
    });
    levels.max_by(|(one, _), (other, _)| one.total_cmp(other))
}

/// Divides two numbers. Returns `None` if either is missing or the divisor is not positive.
pub(super) fn ratio(value: Option<f64>, reference: Option<f64>) -> Option<f64> {
    let (value, reference) = (value?, reference?);
    (reference > 0.0).then(|| value / reference)
}

impl Load {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Closed { in_flight } => format!("{in_flight} in flight"),
            Self::Open { a_second, share: None } => format!("{a_second:.0}/s"),
            Self::Open { a_second, share: Some(share) } => format!("{share}x: {a_second:.0}/s"),
        }
    }
}

impl Measured {
    pub(super) fn new(load: Load) -> Self {
        Self { load, rounds: Vec::new() }
    }

    /// Returns the medians over the rounds.
    pub(super) fn medians(&self) -> Figures {
        let rounds: Vec<Figures> = self.rounds.iter().map(Run::figures).collect();
        Figures::medians(&rounds)
    }

    /// Returns the sum of all rounds' orders.
    pub(super) fn tally(&self) -> Tally {
        let mut all = Tally::new();
        self.rounds.iter().for_each(|run| all.add(&run.measured));
        all
    }

    pub(super) fn held_back(&self) -> u64 {
        self.rounds.iter().map(|run| run.held_back).sum()
    }
}

impl Run {
    fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        let seconds = self.time.as_secs_f64();
        if seconds <= 0.0 {
            return figures;
        }
        let a_second = self.completed as f64 / seconds;
        figures.set("seconds", seconds);
        figures.set("sagasPerSecond", a_second);
        if let Some(local) = local_transactions_a_saga(&self.measured) {
            figures.set("localTransactionsPerSaga", local);
            figures.set("localTransactionsPerSecond", a_second * local);
        }
        if self.measured.completed() > 0 {
            for (name, millis) in self.measured.latencies() {
                figures.set(&format!("latencyMillis.{name}"), millis);
            }
        }
        figures.set("refusedPerSecond", self.measured.refused as f64 / seconds);
        self.used.figures(self.completed, &mut figures);
        figures
    }
}

/// Computes the average number of local transactions. An order that ended as its card requires has
/// a fixed number of them.
fn local_transactions_a_saga(tally: &Tally) -> Option<f64> {
    let all = tally.confirmed * LOCAL_TRANSACTIONS_CONFIRMED
        + tally.declined * LOCAL_TRANSACTIONS_DECLINED;
    let sagas = tally.confirmed + tally.declined;
    (sagas > 0).then(|| all as f64 / sagas as f64)
}

impl Report {
    /// Returns a sentence for each result that does not add up.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for this in &self.measured {
            let found = problems_of(&this.tally());
            problems.extend(found.into_iter().map(|p| format!("{}: {p}", this.load.name())));
            if this.held_back() > 0 && matches!(this.load, Load::Open { share: None, .. }) {
                problems.push(format!(
                    "{}: {} orders were not placed, because too many were under way.",
                    this.load.name(),
                    this.held_back()
                ));
            }
        }
        // An order whose end is not known may have been sold, or may still be held.
        let unknown: u64 = self.all().flat_map(|tally| tally.unknown.values()).sum();
        let confirmed: u64 = self.all().map(|tally| tally.confirmed).sum();
        let Books { sold, reserved, unbalanced } = self.books;
        let sold_or_less_than_none = u64::try_from(sold).unwrap_or(0);
        if sold < 0 || !(confirmed..=confirmed + unknown).contains(&sold_or_less_than_none) {
            problems.push(format!(
                "The catalogue sold {sold} in this run, and {confirmed} orders were confirmed."
            ));
        }
        if reserved != 0 && unknown == 0 {
            problems.push(format!(
                "The catalogue's reservations changed by {reserved}, and every order has ended."
            ));
        }
        if unbalanced != 0 {
            problems.push(format!(
                "Of {unbalanced} products, received is not available + reserved + sold."
            ));
        }
        problems
    }

    /// Returns all orders of the run, measured or not.
    fn all(&self) -> impl Iterator<Item = &Tally> {
        let runs = self.measured.iter().flat_map(|this| &this.rounds).chain(&self.unmeasured);
        runs.flat_map(|run| [&run.measured, &run.rest])
    }

    /// Returns the most memory that each process has used.
    fn memory(&self) -> BTreeMap<&str, u64> {
        let mut most: BTreeMap<&str, u64> = BTreeMap::new();
        for run in self.measured.iter().flat_map(|this| &this.rounds) {
            for (name, bytes) in &run.used.memory {
                let known = most.entry(name).or_default();
                *known = (*known).max(*bytes);
            }
        }
        most
    }

    /// Returns the payment provider's average time at the first level.
    pub(super) fn provider(&self) -> Option<Duration> {
        let alone = self.measured.first()?;
        let seconds = alone.medians().get("providerSeconds")?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// Returns a load's figures, and their ratios to the limits.
    pub(super) fn figures(&self, this: &Measured) -> Figures {
        let mut figures = this.medians();
        let Some(limits) = &self.limits else { return figures };
        let rate = figures.get("sagasPerSecond");
        let broker = limits.broker.as_ref().map(|broker| broker.sagas_a_second);
        let mut set = |name: &str, value: Option<f64>| {
            if let Some(value) = value {
                figures.set(name, value);
            }
        };
        set("ratios.ofFloor", ratio(rate, Some(limits.floor.sagas_a_second)));
        set("ratios.ofBroker", ratio(rate, broker));
        let sum = limits.sum();
        if this.load == (Load::Closed { in_flight: 1 }) {
            let p50 = this.medians().get("latencyMillis.p50");
            set("ratios.p50ToUnavoidable", ratio(p50, Some(sum.millis())));
            set("ratios.p50ToFastestTenth", ratio(p50, Some(sum.tenth_millis())));
        }
        figures
    }

    /// Renders the report as JSON for programs.
    pub(super) fn json(&self, problems: &[String]) -> Value {
        let of = |wanted: fn(&Load) -> bool| -> Vec<Value> {
            self.measured.iter().filter(|m| wanted(&m.load)).map(|m| self.one(m)).collect()
        };
        json!({
            "run": self.run,
            "of": self.of,
            "levels": of(|load| matches!(load, Load::Closed { .. })),
            "rates": of(|load| matches!(load, Load::Open { .. })),
            "memoryBytes": self.memory(),
            "eventsReceived": self.events,
            "limits": self.limits.as_ref().map(Limits::json),
            "catalogue": {"sold": self.books.sold, "reserved": self.books.reserved, "unbalanced": self.books.unbalanced},
            "addsUp": problems.is_empty(),
            "problems": problems,
        })
    }

    fn one(&self, this: &Measured) -> Value {
        let mut value = self.figures(this).json();
        match this.load {
            Load::Closed { in_flight } => value["inFlight"] = in_flight.into(),
            Load::Open { a_second, share } => {
                value["offeredPerSecond"] = a_second.into();
                value["shareOfSaturation"] = share.into();
                value["heldBack"] = this.held_back().into();
            }
        }
        let tally = this.tally();
        value["sent"] = tally.sent.into();
        value["confirmed"] = tally.confirmed.into();
        value["declined"] = tally.declined.into();
        value["refused"] = tally.refused.into();
        value["unexpected"] = json!(tally.unexpected);
        value["unknown"] = json!(tally.unknown);
        value["repeatedCalls"] = tally.repeats.into();
        value["rounds"] = this.rounds.iter().map(|run| run.figures().json()).collect();
        value
    }
}

fn problems_of(tally: &Tally) -> Vec<String> {
    let mut problems = Vec::new();
    if tally.piled() != tally.sent {
        problems.push(format!(
            "{} orders were sent, and {} are accounted for.",
            tally.sent,
            tally.piled()
        ));
    }
    if tally.completed() == 0 {
        problems.push("no order has ended.".to_owned());
    }
    problems.extend(tally.unexpected.iter().map(|(how, count)| format!("{count} ended as {how}.")));
    problems.extend(
        tally.unknown.iter().map(|(code, count)| format!("the end of {count} is unknown: {code}.")),
    );
    problems
}

#[cfg(test)]
mod tests;
