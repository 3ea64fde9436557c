//! The checks after all faults are healed: compares the client's log with the databases, and runs
//! the system's own audit.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use saga_proto::order::v1::OrderStatus;
use saga_test_support::shopper::end_of;
use serde::Serialize;
use sqlx::{ConnectOptions as _, Row as _, postgres::PgConnectOptions};

use crate::{
    client::{End, Order},
    faults::Injected,
    system::System,
};

/// The results of the checks.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Findings {
    pub(crate) sent: usize,
    pub(crate) accepted: usize,
    /// Orders whose first answer was lost, so that the client called again.
    pub(crate) unknown: usize,
    /// Number of orders for each kind of end.
    pub(crate) ends: BTreeMap<String, usize>,
    /// Orders that ended because a step or the deadline took too long.
    pub(crate) given_up: usize,
    /// Orders that were accepted but are missing in the databases.
    pub(crate) lost: Vec<String>,
    /// Keys with two orders, and sagas without a key that the client sent.
    pub(crate) doubled: Vec<String>,
    /// Answers that contradict the databases, or that should have been impossible.
    pub(crate) contradicted: Vec<String>,
    /// Orders that did not end, although all faults were healed.
    pub(crate) unfinished: Vec<String>,
    /// Sagas that need an operator, with the reason.
    pub(crate) stuck: Vec<String>,
    /// Messages in the quarantine, by reason.
    pub(crate) quarantine: BTreeMap<String, usize>,
    pub(crate) audit_passed: bool,
    /// Equations of the audit that do not hold.
    pub(crate) audit_failed: Vec<String>,
    pub(crate) recovery: Recovery,
}

/// The times from a fault's end (the process serves again, the server accepts connections, bytes
/// pass) until [`IN_A_ROW`] orders that were placed one after the other since then have all ended as
/// their cards ask.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recovery {
    pub(crate) measured: usize,
    pub(crate) p50_millis: u64,
    pub(crate) p99_millis: u64,
    pub(crate) max_millis: u64,
    pub(crate) slowest: String,
    /// The longest time without the end of any order.
    pub(crate) longest_silence_millis: u64,
}

/// The content of the databases, as far as the client's answers can contradict it.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// The saga of each idempotency key.
    pub(crate) keys: BTreeMap<String, String>,
    pub(crate) sagas: BTreeSet<String>,
    /// Status and reason of each order.
    pub(crate) orders: BTreeMap<String, (i32, String)>,
}

/// Compares the client's log with the databases.
pub(crate) fn compare(orders: &[Order], books: &Books, findings: &mut Findings) {
    findings.sent = orders.len();
    let mut known = BTreeSet::new();
    for order in orders {
        findings.unknown += usize::from(order.unknown);
        for wrong in &order.wrong {
            findings.contradicted.push(format!("{}: {wrong}", order.key));
        }
        if order.ids.len() > 1 {
            findings.doubled.push(format!("{} was answered with {:?}", order.key, order.ids));
        }
        known.extend(books.keys.get(&order.key));
        let Some(id) = order.ids.first() else { continue };
        findings.accepted += 1;
        if books.keys.get(&order.key) != Some(id) || !books.sagas.contains(id) {
            findings.lost.push(format!("{} was accepted as {id}", order.key));
            continue;
        }
        match &order.end {
            None => findings.unfinished.push(format!("{} ({id})", order.key)),
            Some(end) => {
                let how = format!("{} {}", end.status.as_str_name(), end.reason);
                *findings.ends.entry(how.trim().to_owned()).or_default() += 1;
                findings.given_up += usize::from(end.was_given_up());
                if let Some(wrong) = contradiction(order, end, books.orders.get(id)) {
                    findings.contradicted.push(format!("{} ({id}): {wrong}", order.key));
                }
            }
        }
    }
    for saga in &books.sagas {
        if !known.contains(saga) {
            findings.doubled.push(format!("{saga} belongs to no key that was sent"));
        }
    }
}

fn contradiction(order: &Order, end: &End, booked: Option<&(i32, String)>) -> Option<String> {
    let confirmed = end.status == OrderStatus::Confirmed;
    if order.cancelled && end.status != OrderStatus::Cancelled {
        return Some(format!("cancelled, and then {}", end.status.as_str_name()));
    }
    match booked {
        Some((status, reason)) if *status != end.status as i32 || *reason != end.reason => {
            return Some(format!("answered as {end:?}, booked as {status} {reason:?}"));
        }
        None => return Some(format!("answered as {end:?}, and in no order book")),
        Some(_) => {}
    }
    let declined = ["CARD_DECLINED", "INSUFFICIENT_FUNDS", "CAPTURE_DECLINED"];
    let is_declined = declined.contains(&end.reason.as_str());
    let must = match end_of(order.token) {
        (OrderStatus::Rejected, must) => must,
        // A fault may make an order fail by a time-out, but it must not make the provider decline a
        // card.
        _ if is_declined => return Some(format!("a good card was answered with {}", end.reason)),
        _ => return None,
    };
    let other = is_declined && end.reason != must;
    (confirmed || other).then(|| format!("{} ended as {end:?}", order.token))
}

/// Number of orders that must end well in a row. With two replicas of each role, at least one of so
/// many goes through each replica, but for one in 128.
pub(crate) const IN_A_ROW: usize = 8;

/// Measures, for each fault, the time until orders end again as their cards ask.
pub(crate) fn recovery(orders: &[Order], faults: &[Injected]) -> Recovery {
    let mut placed: Vec<&Order> = orders.iter().filter(|order| !order.ids.is_empty()).collect();
    placed.sort_unstable_by_key(|order| order.placed);
    let mut times: Vec<(u64, &str)> = Vec::new();
    for fault in faults {
        let since: Vec<&Order> =
            placed.iter().copied().filter(|order| order.placed >= fault.healed).collect();
        let served = since.windows(IN_A_ROW).find_map(|row| {
            let ends = row.iter().map(|order| order.end.as_ref().filter(|end| !end.was_given_up()));
            ends.map(|end| end.map(|end| end.at)).collect::<Option<Vec<_>>>()?.into_iter().max()
        });
        if let Some(served) = served {
            times.push(((served - fault.healed).as_millis() as u64, &fault.what));
        }
    }
    times.sort_unstable();
    let at = |per_cent: usize| {
        times.get((times.len() * per_cent / 100).min(times.len().saturating_sub(1)))
    };
    let millis = |per_cent| at(per_cent).map_or(0, |(millis, _)| *millis);
    let mut ends: Vec<Duration> =
        orders.iter().filter_map(|order| order.end.as_ref()).map(|end| end.at).collect();
    ends.sort_unstable();
    let silence = ends.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    Recovery {
        measured: times.len(),
        p50_millis: millis(50),
        p99_millis: millis(99),
        max_millis: millis(100),
        slowest: at(100).map_or(String::new(), |(_, what)| (*what).to_owned()),
        longest_silence_millis: silence.as_millis() as u64,
    }
}

/// Reads the databases, with a superuser's rights.
pub(crate) async fn read(system: &System, findings: &mut Findings) -> anyhow::Result<Books> {
    let mut books = Books::default();
    let url = |database| system.postgres.url(database).parse::<PgConnectOptions>();
    let mut sagas = url("saga_orchestrator")?.connect().await?;
    let keys = sqlx::query("SELECT key, saga_id::text FROM idempotency_keys");
    for row in keys.fetch_all(&mut sagas).await? {
        books.keys.insert(row.get(0), row.get(1));
    }
    let ids = sqlx::query_scalar("SELECT id::text FROM sagas");
    books.sagas = ids.fetch_all(&mut sagas).await?.into_iter().collect();
    let kept = sqlx::query("SELECT reason, count(*) FROM quarantine GROUP BY reason");
    for row in kept.fetch_all(&mut sagas).await? {
        findings.quarantine.insert(row.get(0), row.get::<i64, _>(1) as usize);
    }
    let mut orders = url("saga_order")?.connect().await?;
    let all = sqlx::query("SELECT order_id::text, status, coalesce(reason_code, '') FROM orders");
    for row in all.fetch_all(&mut orders).await? {
        books.orders.insert(row.get(0), (i32::from(row.get::<i16, _>(1)), row.get(2)));
    }
    Ok(books)
}

/// Runs `saga audit` and records its results. The audit accepts any quarantined message, because
/// [`crate::report`] judges them. `mixed` is true if the run had orders with every kind of end:
/// then an equation without rows counts as a failure.
pub(crate) async fn audit(
    system: &System,
    mixed: bool,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let quarantined = findings.quarantine.values().sum::<usize>().to_string();
    let mut args = vec!["audit", "--json", "--wait", "120", "--quarantined", &quarantined];
    if mixed {
        args.push("--require-rows");
    }
    let output = system.output(&args).await?;
    std::fs::write(system.dir().join("audit.json"), &output.stdout)?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| anyhow::anyhow!("saga audit: {}\n{error}", output.status))?;
    findings.audit_passed = output.status.success();
    for equation in report["equations"].as_array().into_iter().flatten() {
        if equation["verdict"] != "PASS" {
            let text =
                format!("{}: {} {}", equation["name"], equation["verdict"], equation["offenders"]);
            findings.audit_failed.push(text);
        }
    }
    for stuck in report["sagas"]["stuck"].as_array().into_iter().flatten() {
        let text = format!("{} at {}: {}", stuck["saga"], stuck["step"], stuck["reason"]);
        findings.stuck.push(text);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(key: &str, id: &str, status: OrderStatus) -> Order {
        let end = End { status, reason: String::new(), at: Duration::from_secs(2) };
        Order {
            key: key.to_owned(),
            token: "tok_approved",
            ids: [id.to_owned()].into(),
            end: Some(end),
            ..Order::default()
        }
    }

    fn books(rows: &[(&str, &str, OrderStatus)]) -> Books {
        let mut books = Books::default();
        for (key, id, status) in rows {
            books.keys.insert((*key).to_owned(), (*id).to_owned());
            books.sagas.insert((*id).to_owned());
            books.orders.insert((*id).to_owned(), (*status as i32, String::new()));
        }
        books
    }

    fn compared(orders: &[Order], books: &Books) -> Findings {
        let mut findings = Findings::default();
        compare(orders, books, &mut findings);
        findings
    }

    use OrderStatus::{Confirmed, Rejected};

    #[test]
    fn a_log_that_agrees_has_no_findings() {
        let found = compared(&[order("k", "a", Confirmed)], &books(&[("k", "a", Confirmed)]));
        assert_eq!((found.sent, found.accepted), (1, 1));
        assert!(found.lost.is_empty() && found.doubled.is_empty() && found.contradicted.is_empty());
    }

    #[test]
    fn an_accepted_order_that_is_in_no_book_is_lost() {
        let found = compared(&[order("k", "a", Confirmed)], &books(&[]));
        assert_eq!(found.lost.len(), 1);
        let found = compared(&[order("k", "a", Confirmed)], &books(&[("k", "b", Confirmed)]));
        assert_eq!(found.lost.len(), 1, "bound to another");
    }

    #[test]
    fn two_orders_for_one_key_are_doubled_and_so_is_one_for_none() {
        let mut twice = order("k", "a", Confirmed);
        twice.ids.insert("b".to_owned());
        assert_eq!(compared(&[twice], &books(&[("k", "a", Confirmed)])).doubled.len(), 1);
        let both = books(&[("k", "a", Confirmed), ("other", "b", Confirmed)]);
        assert_eq!(compared(&[order("k", "a", Confirmed)], &both).doubled.len(), 1);
    }

    #[test]
    fn an_answer_that_the_books_do_not_bear_out_is_contradicted() {
        let booked = books(&[("k", "a", Rejected)]);
        assert_eq!(compared(&[order("k", "a", Confirmed)], &booked).contradicted.len(), 1);
        let booked = books(&[("k", "a", Confirmed)]);
        let declined = Order { token: "tok_declined", ..order("k", "a", Confirmed) };
        assert_eq!(compared(&[declined], &booked).contradicted.len(), 1);
        let cancelled = Order { cancelled: true, ..order("k", "a", Confirmed) };
        assert_eq!(compared(&[cancelled], &booked).contradicted.len(), 1);
    }

    #[test]
    fn recovery_is_from_a_faults_end_until_several_later_orders_in_a_row_have_ended_well() {
        let seconds = Duration::from_secs;
        let ended = |placed: u64, at: u64, reason: &str| Order {
            placed: seconds(placed),
            end: Some(End { at: seconds(at), status: Confirmed, reason: reason.to_owned() }),
            ..order("k", "a", Confirmed)
        };
        let fault =
            Injected { kind: "kill".to_owned(), what: "one".to_owned(), healed: seconds(10) };
        // The first order was placed before the fault's end, and the third was given up, so the row
        // begins with the fourth.
        let mut orders = vec![ended(9, 11, ""), ended(10, 13, ""), ended(11, 13, "UNAVAILABLE")];
        orders.extend((0..8).map(|n| ended(12 + n, 15 + n, "")));
        let found = recovery(&orders, std::slice::from_ref(&fault));
        assert_eq!((found.measured, found.max_millis), (1, 12_000));
        orders.pop();
        assert_eq!(recovery(&orders, &[fault]).measured, 0, "too few");
        assert_eq!(found.longest_silence_millis, 2_000);
    }
}
