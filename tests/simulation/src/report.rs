//! The results of runs.

use std::{fmt, sync::atomic::Ordering, time::Duration};

use saga_core::State;

use crate::{
    faults::{Fault, Point},
    sim::Tally,
    world::World,
};

/// The result of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The rules that were broken.
    pub violations: Vec<String>,
    /// The transcript, if there is one.
    pub transcript: Vec<String>,
    /// The faults that happened.
    pub tally: Tally,
    /// Number of sagas.
    pub sagas: u64,
    /// Number of completed sagas.
    pub completed: u64,
    /// Duration of the run, on its own clock.
    pub took: Duration,
    /// The largest number of commands and replies of one saga.
    pub most_messages: u64,
    /// The largest number of commands that were published for one saga.
    pub most_commands: u64,
    /// The largest number of commands and replies of one saga after everything was healed.
    pub most_messages_healed: u64,
    /// Number of all commands and replies.
    pub messages: u64,
    /// Equations of the audit that fail because a database has forgotten commits.
    pub differences: u64,
}

/// The results of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Number of seeds.
    pub seeds: u64,
    /// Seeds with a violation, each with its first one.
    pub failed: Vec<(u64, String)>,
    tally: Tally,
    sagas: u64,
    completed: u64,
    took: Duration,
    most_messages: u64,
    most_commands: u64,
    most_messages_healed: u64,
    messages: u64,
    differences: u64,
}

impl Outcome {
    pub(crate) fn of(seed: u64, world: &World) -> Self {
        let messages = world.checks.messages();
        let sagas = world.checks.sagas();
        let completed = sagas.iter().filter(|saga| saga.phase.state() == State::Completed).count();
        Self {
            seed,
            violations: world.sim.violations(),
            transcript: world.sim.transcript(),
            tally: world.sim.tally(),
            sagas: sagas.len() as u64,
            completed: completed as u64,
            took: world.sim.elapsed(),
            most_commands: messages.values().map(|m| m.commands).max().unwrap_or_default(),
            most_messages: messages.values().map(|m| m.all).max().unwrap_or_default(),
            most_messages_healed: messages.values().map(|m| m.healed).max().unwrap_or_default(),
            messages: messages.values().map(|m| m.all).sum(),
            differences: world.differences.load(Ordering::Relaxed),
        }
    }
}

impl Summary {
    /// Adds a run.
    pub fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        if let Some(first) = outcome.violations.first() {
            self.failed.push((outcome.seed, first.clone()));
        }
        for (fault, count) in &outcome.tally.faults {
            *self.tally.faults.entry(*fault).or_default() += count;
        }
        for (point, count) in &outcome.tally.points {
            *self.tally.points.entry(*point).or_default() += count;
        }
        self.sagas += outcome.sagas;
        self.completed += outcome.completed;
        self.took += outcome.took;
        self.messages += outcome.messages;
        self.differences += outcome.differences;
        self.most_commands = self.most_commands.max(outcome.most_commands);
        self.most_messages = self.most_messages.max(outcome.most_messages);
        self.most_messages_healed = self.most_messages_healed.max(outcome.most_messages_healed);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seeds, sagas, completed, .. } = self;
        let hours = self.took.as_secs_f64() / 3_600.0;
        writeln!(
            f,
            "{seeds} seeds, {sagas} sagas ({completed} completed), {hours:.1} simulated hours"
        )?;
        let each = self.messages as f64 / (self.sagas.max(1)) as f64;
        writeln!(
            f,
            "messages a saga: {each:.1}, at most {} ({} commands), after healing at most {}",
            self.most_messages, self.most_commands, self.most_messages_healed
        )?;
        let differences = self.differences;
        writeln!(f, "equations that forgotten commits break: {differences}")?;
        writeln!(f, "faults:")?;
        for fault in Fault::ALL {
            let count = self.tally.faults.get(fault).unwrap_or(&0);
            writeln!(f, "    {count:>9}  {}", fault.name())?;
        }
        writeln!(f, "crash points hit: {} of {}", self.tally.points.len(), Point::ALL.len())?;
        for point in Point::ALL.iter().filter(|point| !self.tally.points.contains_key(point)) {
            writeln!(f, "    never: {}", point.name())?;
        }
        writeln!(f, "seeds with violations: {}", self.failed.len())?;
        let mut failed: Vec<_> = self.failed.iter().collect();
        failed.sort_unstable();
        for (seed, first) in failed.iter().take(20) {
            writeln!(f, "    seed {seed}: {first}")?;
        }
        if let Some((seed, _)) = failed.first() {
            writeln!(f, "replay: scripts/simulate --seed {seed}")?;
        }
        Ok(())
    }
}
