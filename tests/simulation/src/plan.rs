//! The plan of a run.

use std::time::Duration;

use crate::{
    dice::Dice,
    faults::{Fault, Rates},
    planted::{Need, Planted},
    world::Options,
};

/// What can be away for twenty minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outage {
    /// The payment provider.
    Provider,
    /// The broker.
    Broker,
    /// The orchestrators' database.
    Orchestrator,
}

/// The plan of a run. Its values are drawn from the seed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) rates: Rates,
    pub(crate) orchestrators: usize,
    pub(crate) orders: usize,
    pub(crate) orders_within_millis: u64,
    pub(crate) faults_for: Duration,
    /// True if sagas are woken when they are due.
    pub(crate) timers: bool,
    /// True if orchestrators cache the sagas that they wrote last.
    pub(crate) remembers: bool,
    /// Time that a step waits for its first answer. `None`: as in production.
    pub(crate) step_timeout_millis: Option<u64>,
    pub(crate) delivery_limit: Option<u32>,
    pub(crate) planted: Option<Planted>,
    /// True if databases forget their last commits.
    pub(crate) forgets: bool,
    /// What is away for twenty minutes.
    pub(crate) outage: Option<Outage>,
    /// True if strangers send messages.
    pub(crate) strangers: bool,
    /// True if clients wait for the ends of their orders, and somebody for a row that does not
    /// decode.
    pub(crate) waiters: bool,
    /// The most rows that a statement may touch within its time limit.
    pub(crate) most_rows: Option<usize>,
}

impl Plan {
    /// Draws a plan. What was added later is drawn from other dice, so that a seed stays the same
    /// where it has none of it.
    pub(crate) fn draw(dice: &Dice, more: &Dice, options: Options) -> Self {
        let timers = !dice.chance(0.15);
        let mut rates = Rates::draw(dice);
        if !timers {
            // After these faults a command is lost, and only its saga's wake-up sends it again.
            rates = rates.without(&[
                Fault::Conflict,
                Fault::PublishRefused,
                Fault::CallLost,
                Fault::CallLate,
                Fault::AnswerLost,
                Fault::SlowAnswer,
                Fault::ProviderAway,
                Fault::ClockJump,
            ]);
        }
        if options.no_faults {
            rates = Rates::none();
        }
        Self {
            rates,
            orchestrators: if dice.chance(0.2) { 3 } else { 2 },
            orders: 10 + dice.below(5),
            orders_within_millis: *dice.pick(&[50, 2_000, 15_000]),
            faults_for: dice.millis(10_000..=40_000),
            timers,
            remembers: dice.chance(0.5),
            step_timeout_millis: Some(*dice.pick(&[400, 1_000, 3_000])),
            delivery_limit: timers.then(|| *dice.pick(&[3, 10])),
            planted: options.planted,
            forgets: false,
            outage: None,
            strangers: false,
            waiters: false,
            most_rows: None,
        }
        .with_more(more, options)
    }

    fn with_more(mut self, dice: &Dice, options: Options) -> Self {
        let needs =
            |need: Need| options.planted.is_some_and(|planted| planted.needs().contains(&need));
        let draw = |need: Need, often: f64| dice.chance(often) | needs(need);
        let (forgets, away) = (draw(Need::Forgetting, 0.1), draw(Need::ProviderAway, 0.04));
        let outage = *dice.pick(&[Outage::Provider, Outage::Broker, Outage::Orchestrator]);
        let outage = if needs(Need::ProviderAway) { Outage::Provider } else { outage };
        self.strangers = draw(Need::Strangers, 0.3) && !options.no_faults;
        self.waiters = draw(Need::Waiters, 0.3);
        self.most_rows = draw(Need::SlowStatements, 0.15).then(|| 1 + dice.below(3));
        if !self.timers || options.no_faults {
            // After these, only a saga's wake-up sends a command again.
            self.most_rows = None;
            return self;
        }
        if away {
            // With the waits of production, and alone if the provider is away: `check/money.rs`.
            self.outage = Some(outage);
            self.step_timeout_millis = None;
            self.most_rows = None;
            if outage == Outage::Provider {
                self.rates = Rates::none();
            }
        } else {
            self.forgets = forgets;
        }
        self.remembers |= options.planted == Some(Planted::RemembersByVersionAlone);
        self
    }
}
