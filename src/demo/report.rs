//! Formats the results of the orders, for people and for programs.

use std::collections::BTreeMap;

use saga_proto::{order::v1::OrderStatus, shop::v1::ReturnStatus};
use serde::Serialize;

use super::{
    mix::Kind,
    orders::{Placed, Tally},
};
use crate::audit;

/// Formats a table with the kinds of order and how the orders of each kind ended.
pub(super) fn table(tally: &Tally) -> String {
    let mut kinds: BTreeMap<Kind, Vec<&Placed>> = BTreeMap::new();
    for placed in &tally.placed {
        kinds.entry(placed.kind).or_default().push(placed);
    }
    let rows = kinds.into_iter().map(|(kind, placed)| {
        let mut ends: BTreeMap<String, u32> = BTreeMap::new();
        for one in &placed {
            *ends.entry(end(one)).or_default() += 1;
        }
        let ends: Vec<String> = ends.into_iter().map(|(end, n)| format!("{n} {end}")).collect();
        [kind.name().to_owned(), placed.len().to_string(), ends.join(", ")]
    });
    let table = saga_cli::table(["ORDERS", "PLACED", "ENDED"], rows);
    format!(
        "{table}\nReturned afterwards, whole or in part: {}, of which {} were refunded\n\
         Calls repeated under the same key: {}",
        tally.placed.iter().filter(|placed| placed.returned.is_some()).count(),
        refunded(tally),
        tally.repeats
    )
}

fn refunded(tally: &Tally) -> usize {
    tally.placed.iter().filter(|placed| placed.returned == Some(ReturnStatus::Done)).count()
}

fn end(placed: &Placed) -> String {
    let status = placed.status.as_str_name().trim_start_matches("ORDER_STATUS_");
    if ["", status].contains(&placed.reason.as_str()) {
        status.to_owned()
    } else {
        format!("{status} {}", placed.reason)
    }
}

/// How long the audit waits for a moment when no order is in progress. Other clients may be placing
/// orders too.
pub(super) const AUDIT_WAIT: std::time::Duration = std::time::Duration::from_secs(60);

/// Returns the options of the audit. At the end of a demo no work is open. An equation that found
/// no rows to check has proved nothing, so it fails.
pub(super) fn audit_options() -> audit::Options {
    audit::Options { require_rows: true, ..Default::default() }
}

/// The JSON object that `--json` prints as the last line.
#[derive(Serialize)]
pub(super) struct Summary {
    orders: u32,
    seed: u64,
    confirmed: usize,
    rejected: usize,
    cancelled: usize,
    /// The confirmed orders that were returned, whole or in part, and refunded.
    returned: usize,
    /// Orders that did not end as their kind must. This happens, for example, if the provider is
    /// unavailable for too long.
    unexpected: Vec<String>,
    repeated_calls: u64,
    seconds: f64,
    orders_per_second: f64,
    audit: &'static str,
    equations: usize,
    failed_equations: Vec<&'static str>,
}

impl Summary {
    pub(super) fn new(orders: u32, seed: u64, tally: &Tally, audited: &audit::Report) -> Self {
        let count = |status| tally.placed.iter().filter(|placed| placed.status == status).count();
        let odd = tally.placed.iter().filter(|placed| !placed.as_asked());
        let failed = audited.equations.iter().filter(|e| e.verdict != audit::Verdict::Pass);
        let seconds = tally.took.as_secs_f64();
        Self {
            orders,
            seed,
            confirmed: count(OrderStatus::Confirmed),
            rejected: count(OrderStatus::Rejected),
            cancelled: count(OrderStatus::Cancelled),
            returned: refunded(tally),
            unexpected: odd
                .map(|p| format!("{} {}: {}", p.order_id, p.kind.name(), end(p)))
                .collect(),
            repeated_calls: tally.repeats,
            seconds,
            orders_per_second: f64::from(orders) / seconds.max(0.001),
            audit: if audited.passed { "PASS" } else { "FAIL" },
            equations: audited.equations.len(),
            failed_equations: failed.map(|equation| equation.name).collect(),
        }
    }
}
