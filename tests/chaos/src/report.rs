//! The report of a run with its verdict, for people or for programs.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use crate::{
    faults::Injector,
    judge::Findings,
    schedule::{Schedule, points},
};

/// A reason for the quarantine that does not count as poison: the parcel's consumers crashed too
/// often. Its members were answered or superseded later, or else their sagas would not have ended.
const DELIVERY_LIMIT: &str = "delivery_limit";

/// Maximum percentage of accepted orders that may end because a step or the order was not done in
/// time. The schedule's faults, two or three at a time without a pause, account for about 8 %.
const MOST_GIVEN_UP_PER_CENT: usize = 20;

/// The full report of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    seed: u64,
    /// Number of faults by kind.
    faults: BTreeMap<String, usize>,
    faults_injected: usize,
    at_once: usize,
    /// The number of crash points that were hit, the number of all points, and the names of the
    /// missed ones.
    crash_points: CrashPoints,
    /// Processes that ended without a fault.
    died: Vec<String>,
    /// Faults that could not be injected or healed.
    failures: Vec<String>,
    /// Number of poisonous messages that were sent.
    poisons: u64,
    #[serde(flatten)]
    findings: Findings,
    violations: Vec<String>,
}

#[derive(Debug, Serialize)]
struct CrashPoints {
    hit: usize,
    of: usize,
    missed: Vec<String>,
}

impl Report {
    pub(crate) fn new(
        seed: u64,
        schedule: &Schedule,
        injector: &Injector,
        findings: Findings,
    ) -> Self {
        let injected = injector.injected();
        let mut faults = BTreeMap::new();
        for fault in &injected {
            *faults.entry(fault.kind.clone()).or_default() += 1;
        }
        let hit = injector.hit();
        let all = points().map(|(role, point)| format!("{role}/{point}"));
        let missed: Vec<String> = all.filter(|name| !hit.contains(name)).collect();
        let mut report = Self {
            seed,
            faults,
            faults_injected: injected.len(),
            at_once: schedule.at_once,
            crash_points: CrashPoints { hit: hit.len(), of: points().count(), missed },
            died: injector.died(),
            failures: injector.failures(),
            poisons: injector.poisons(),
            findings,
            violations: Vec::new(),
        };
        report.violations = report.violations();
        report
    }

    pub(crate) fn passed(&self) -> bool {
        self.violations.is_empty()
    }

    fn violations(&self) -> Vec<String> {
        let found = &self.findings;
        let mut violations = Vec::new();
        for (what, list) in [
            ("lost", &found.lost),
            ("doubled", &found.doubled),
            ("contradicted", &found.contradicted),
            ("unfinished", &found.unfinished),
            ("crash point never reached", &self.crash_points.missed),
            ("ended by itself", &self.died),
            ("fault", &self.failures),
            ("audit", &found.audit_failed),
        ] {
            violations.extend(list.iter().map(|one| format!("{what}: {one}")));
        }
        if !found.audit_passed && found.audit_failed.is_empty() {
            violations.push("audit: it does not pass".to_owned());
        }
        if found.given_up * 100 > found.accepted * MOST_GIVEN_UP_PER_CENT {
            let (given_up, accepted) = (found.given_up, found.accepted);
            violations.push(format!("{given_up} of {accepted} orders were given up"));
        }
        if found.accepted == 0 {
            violations.push("no order was accepted: the run proves nothing".to_owned());
        }
        let poison = found.quarantine.iter().filter(|(reason, _)| *reason != DELIVERY_LIMIT);
        let poison: usize = poison.map(|(_, count)| count).sum();
        // Poison that waits in a queue is lost when the queue is deleted.
        let deleted = self.faults.contains_key("queue deleted");
        let missing = (poison as u64) < self.poisons && !deleted;
        if poison as u64 > self.poisons || missing {
            let reasons = &found.quarantine;
            let injected = self.poisons;
            violations
                .push(format!("the quarantine holds {poison} poisons of {injected}: {reasons:?}"));
        }
        violations
    }

    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are JSON")
    }

    pub(crate) fn text(&self) -> String {
        let found = &self.findings;
        let mut text = String::new();
        // Writing to a string cannot fail.
        let mut line = |label: &str, what: String| {
            let _ = writeln!(text, "{label:<14}{what}");
        };
        line(
            "orders",
            format!(
                "{} sent, {} accepted, {} unknown at first",
                found.sent, found.accepted, found.unknown
            ),
        );
        for (how, count) in &found.ends {
            line("", format!("{count:>6} {how}"));
        }
        line("given up", format!("{} of {}", found.given_up, found.accepted));
        line(
            "verdict",
            format!(
                "{} lost, {} doubled, {} contradicted, {} unfinished, {} stuck",
                found.lost.len(),
                found.doubled.len(),
                found.contradicted.len(),
                found.unfinished.len(),
                found.stuck.len()
            ),
        );
        for stuck in &found.stuck {
            line("", format!("stuck: {stuck}"));
        }
        line("audit", if found.audit_passed { "PASS" } else { "FAIL" }.to_owned());
        let recovery = &found.recovery;
        line(
            "recovery",
            format!(
                "p50 {} ms, p99 {} ms, max {} ms, measured after {} faults; the slowest after {}",
                recovery.p50_millis,
                recovery.p99_millis,
                recovery.max_millis,
                recovery.measured,
                recovery.slowest
            ),
        );
        line(
            "silence",
            format!("at most {} ms without an order's end", recovery.longest_silence_millis),
        );
        line("faults", format!("{}, at most {} at once", self.faults_injected, self.at_once));
        for (kind, count) in &self.faults {
            line("", format!("{count:>6} {kind}"));
        }
        line("crash points", format!("{} hit of {}", self.crash_points.hit, self.crash_points.of));
        let quarantine: usize = found.quarantine.values().sum();
        line(
            "quarantine",
            format!("{quarantine}, for {} poisons: {:?}", self.poisons, found.quarantine),
        );
        for violation in &self.violations {
            line("VIOLATION", violation.clone());
        }
        line("seed", self.seed.to_string());
        line("chaos", if self.passed() { "PASS" } else { "FAIL" }.to_owned());
        text
    }
}

/// Describes the schedule of a seed, one fault in each line.
pub(crate) fn plan(schedule: &Schedule) -> String {
    let mut text = format!("at most {} faults at once\n", schedule.at_once);
    for planned in &schedule.faults {
        let (after, lasts) = (planned.after.as_secs_f64(), planned.lasts.as_secs_f64());
        let _ = writeln!(text, "{after:>7.1} s  for {lasts:>4.1} s  {:?}", planned.fault);
    }
    text.push_str("beside them, one after the other:\n");
    for point in &schedule.crash_points {
        let _ = writeln!(
            text,
            "  {}, replica {}, at passing {}",
            point.name(),
            point.replica,
            point.at
        );
    }
    text
}
