//! What `saga reconcile` did, and what it leaves to a person.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;

use crate::audit;

/// Maximum number of the audit's findings that people are shown. `--json` has all.
const MOST_SHOWN: usize = 20;

/// The result of one run.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// True if nothing was to be changed.
    pub(crate) dry_run: bool,
    /// Ids of sagas that were told what their participants have on record.
    pub(crate) caught_up: Vec<String>,
    /// Ids of sagas that the orchestrator had forgotten, and that were begun again.
    pub(crate) begun_again: Vec<String>,
    /// Ids of commands that were asked again, because their participant has forgotten them.
    pub(crate) asked_again: Vec<String>,
    /// What is left to a person.
    pub(crate) named: Vec<Named>,
    /// What the audit finds that belongs to no named saga.
    pub(crate) unnamed: Vec<String>,
    /// Number of sagas in progress. They go on as soon as orchestrators run.
    pub(crate) in_progress: u64,
    /// The audit of the books as they are now. `None` while sagas are in progress.
    #[serde(skip)]
    pub(crate) audit: Option<audit::Report>,
}

/// Something that a person has to know of, or to do something about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Named {
    /// The saga. For an order it is also the order's id.
    pub(crate) saga: String,
    /// What is wrong.
    pub(crate) what: String,
    /// What may be done about it, or why nothing is to be done.
    pub(crate) to_do: String,
    /// True if nothing is to be done.
    pub(crate) harmless: bool,
}

impl Named {
    pub(crate) fn new(saga: &str, what: impl Into<String>, to_do: &str) -> Self {
        let (saga, what, to_do) = (saga.to_owned(), what.into(), to_do.to_owned());
        Self { saga, what, to_do, harmless: false }
    }

    pub(crate) fn harmless(saga: &str, what: impl Into<String>, why: &str) -> Self {
        Self { harmless: true, ..Self::new(saga, what, why) }
    }
}

impl Report {
    /// Returns true if the databases agree, and nothing is left to do.
    pub(crate) fn is_clean(&self) -> bool {
        let pending = self.caught_up.len() + self.begun_again.len() + self.asked_again.len();
        self.named.is_empty()
            && self.audit.as_ref().is_some_and(|audit| audit.passed)
            && !(self.dry_run && pending > 0)
    }

    /// Formats the report for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let would = if self.dry_run { "would be " } else { "" };
        for (count, what) in [
            (self.caught_up.len(), "sagas", "told what their participants have on record"),
            (self.begun_again.len(), "forgotten sagas", "begun again from what services keep"),
            (self.asked_again.len(), "forgotten commands", "asked again"),
        ]
        .map(|(count, who, what)| (count, format!("{who} {would}{what}")))
        {
            let _ = writeln!(text, "{count:>6} {what}");
        }
        // There may be thousands of which nothing is to be done: --json has their ids.
        let mut harmless: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for Named { saga, what, to_do, harmless: nothing_to_do } in &self.named {
            if *nothing_to_do {
                *harmless.entry((what, to_do)).or_default() += 1;
            } else {
                let _ = writeln!(text, "saga {saga}: {what}\n    {to_do}");
            }
        }
        for ((what, why), count) in harmless {
            let _ = writeln!(text, "{count:>6} sagas: {what}\n    nothing to do: {why}");
        }
        if self.in_progress > 0 {
            let _ = writeln!(
                text,
                "{} sagas are in progress: let orchestrators run, then run this again",
                self.in_progress
            );
        }
        match &self.audit {
            Some(audit) if audit.passed => text.push_str("saga audit: the books agree\n"),
            Some(_) if self.unnamed.is_empty() => {
                text.push_str("saga audit: the books agree, but for the sagas that are named\n");
            }
            Some(_) => {
                text.push_str("saga audit finds more than what is named:\n");
                for unnamed in self.unnamed.iter().take(MOST_SHOWN) {
                    let _ = writeln!(text, "    {unnamed}");
                }
            }
            None => {}
        }
        let _ = writeln!(text, "RECONCILED: {}", if self.is_clean() { "all" } else { "not all" });
        text
    }

    /// Formats the report for programs, as one JSON object.
    pub(crate) fn json(&self) -> String {
        let mut report = serde_json::to_value(self).expect("texts and numbers are JSON");
        report["clean"] = self.is_clean().into();
        report["audit"] = match &self.audit {
            Some(audit) if audit.passed => "PASS".into(),
            Some(_) => "FAIL".into(),
            None => "NOT AT REST".into(),
        };
        report.to_string()
    }
}
