//! The critical path of one order: the waits that come one after the other, whatever the
//! throughput. They follow from the steps and the protocol's rules, not from observation.

use std::time::Duration;

use serde_json::{Value, json};

/// Answers that participants record for a confirmed order, one for each step: create, reserve,
/// authorise, capture, commit, confirm.
pub(super) const LOCAL_TRANSACTIONS_CONFIRMED: u64 = {
    let (mut steps, mut stage) = (0, 0);
    while stage < STAGES.len() {
        steps += STAGES[stage].steps.len();
        stage += 1;
    }
    steps as u64
};
/// Answers that they record for a declined order: create, reserve, the refusal, release, reject.
pub(super) const LOCAL_TRANSACTIONS_DECLINED: u64 = 5;

/// A stage of place order. Its steps run side by side.
struct Stage {
    steps: &'static [&'static str],
    /// Whether a step calls the payment provider.
    asks_outside: bool,
}

const STAGES: [Stage; 5] = [
    Stage { steps: &["create-order"], asks_outside: false },
    Stage { steps: &["reserve-stock"], asks_outside: false },
    Stage { steps: &["authorise-payment"], asks_outside: true },
    Stage { steps: &["capture-payment"], asks_outside: true },
    Stage { steps: &["commit-stock", "confirm-order"], asks_outside: false },
];

/// The waits of a confirmed order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) parts: Vec<Part>,
}

/// One kind of wait, and how often it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) wait: Wait,
    pub(super) count: u32,
    pub(super) why: &'static str,
}

/// The kinds of waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// A durable commit.
    Commit,
    /// A message, from being published to being delivered.
    Hop,
    /// An event's confirm.
    Confirm,
    /// The payment provider's answer.
    Provider,
}

/// The duration of something that was timed repeatedly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Timing {
    pub(super) median: Duration,
    /// A tenth of the times were no longer. That is the better estimate on a shared machine.
    pub(super) tenth: Duration,
}

/// The duration of each kind of wait on the given servers, without other load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    pub(super) commit: Timing,
    /// Zero if messages stay within the process.
    pub(super) hop: Timing,
    pub(super) confirm: Timing,
    pub(super) provider: Timing,
}

/// Computes the critical path of a confirmed order.
pub(super) fn of_a_confirmed_order() -> Path {
    let stages = u32::try_from(STAGES.len()).expect("a handful");
    let outside = STAGES.iter().map(|stage| u32::from(stage.asks_outside)).sum();
    let part = |wait, count, why| Part { wait, count, why };
    Path {
        parts: vec![
            part(
                Wait::Commit,
                1,
                "the admission: the saga and the client's key, before its first command",
            ),
            part(
                Wait::Commit,
                stages,
                "a stage's effect and answer, before its reply (side by side counts once)",
            ),
            part(
                Wait::Commit,
                outside,
                "the intent to ask the payment provider, before it is asked",
            ),
            part(
                Wait::Commit,
                stages,
                "the turn on a stage's replies, before what it opens, or before the client's answer",
            ),
            part(Wait::Hop, stages, "a stage's command"),
            part(
                Wait::Confirm,
                stages,
                "a stage's event is confirmed before its reply is published",
            ),
            part(Wait::Hop, stages, "a stage's reply"),
            part(Wait::Provider, outside, "the provider's answer"),
        ],
    }
}

impl Path {
    pub(super) fn count(&self, wait: Wait) -> u32 {
        self.parts.iter().filter(|part| part.wait == wait).map(|part| part.count).sum()
    }

    /// Adds up all waits.
    pub(super) fn sum(&self, costs: &Costs) -> Timing {
        let sum = |of: fn(Timing) -> Duration| {
            self.parts.iter().map(|part| of(costs.of(part.wait)) * part.count).sum()
        };
        Timing { median: sum(|timing| timing.median), tenth: sum(|timing| timing.tenth) }
    }

    pub(super) fn json(&self, costs: &Costs) -> Value {
        self.parts
            .iter()
            .map(|Part { wait, count, why }| {
                let each = costs.of(*wait);
                json!({
                    "wait": wait.name(),
                    "count": count,
                    "millisEach": each.millis(),
                    "fastestTenthMillis": each.tenth_millis(),
                    "why": why,
                })
            })
            .collect()
    }
}

impl Timing {
    /// Returns the timing of these measured times.
    pub(super) fn of(mut took: Vec<Duration>) -> Self {
        took.sort();
        let at = |place: usize| took.get(place).copied().unwrap_or_default();
        Self { median: at(took.len() / 2), tenth: at(took.len() / 10) }
    }

    /// Returns a timing of which only one number is known.
    pub(super) fn always(took: Duration) -> Self {
        Self { median: took, tenth: took }
    }

    pub(super) fn millis(&self) -> f64 {
        self.median.as_secs_f64() * 1e3
    }

    pub(super) fn tenth_millis(&self) -> f64 {
        self.tenth.as_secs_f64() * 1e3
    }
}

impl Costs {
    pub(super) fn of(&self, wait: Wait) -> Timing {
        match wait {
            Wait::Commit => self.commit,
            Wait::Hop => self.hop,
            Wait::Confirm => self.confirm,
            Wait::Provider => self.provider,
        }
    }
}

impl Wait {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Hop => "hop",
            Self::Confirm => "confirm",
            Self::Provider => "provider",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_stages_are_those_of_the_definition() {
        use saga_core::HostedDefinition as _;
        let definition = <saga_definitions::PlaceOrder as saga_core::Saga>::steps();
        let ours: BTreeSet<&str> = STAGES.iter().flat_map(|stage| stage.steps).copied().collect();
        let theirs: BTreeSet<&str> = definition.step_names().into_iter().collect();
        assert_eq!(ours, theirs);
        assert_eq!(LOCAL_TRANSACTIONS_CONFIRMED, 6);
    }

    #[test]
    fn a_confirmed_order_waits_for_thirteen_commits_and_ten_hops() {
        let path = of_a_confirmed_order();
        // Admission, five effects, two intents, and five turns.
        assert_eq!(path.count(Wait::Commit), 13);
        assert_eq!(path.count(Wait::Hop), 10);
        assert_eq!(path.count(Wait::Confirm), 5);
        assert_eq!(path.count(Wait::Provider), 2);
    }

    #[test]
    fn the_sum_is_each_part_as_often_as_it_comes() {
        let millis = Duration::from_millis;
        let timing = |median, tenth| Timing { median: millis(median), tenth: millis(tenth) };
        let costs = Costs {
            commit: timing(20, 2),
            hop: timing(30, 3),
            confirm: timing(10, 1),
            provider: timing(5, 5),
        };
        let sum = of_a_confirmed_order().sum(&costs);
        assert_eq!(sum.median, millis(13 * 20 + 10 * 30 + 5 * 10 + 2 * 5));
        assert_eq!(sum.tenth, millis(13 * 2 + 10 * 3 + 5 + 2 * 5));
        let nothing = Costs { hop: Timing::default(), confirm: Timing::default(), ..costs };
        assert_eq!(of_a_confirmed_order().sum(&nothing).tenth, millis(13 * 2 + 2 * 5));
    }

    #[test]
    fn the_fastest_tenth_is_not_moved_by_a_busy_half() {
        let took = (0..100).map(|n| Duration::from_millis(if n % 2 == 0 { 1 } else { 40 + n }));
        let timing = Timing::of(took.collect());
        assert_eq!(timing.tenth, Duration::from_millis(1));
        assert!(timing.median > Duration::from_millis(40), "{timing:?}");
        assert_eq!(Timing::of(vec![]), Timing::default());
    }
}
