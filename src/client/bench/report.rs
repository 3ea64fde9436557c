//! What came out of a bench, and whether it adds up.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{super::console::table, load::Tally, stock::Books};

const MICROS_A_MILLI: f64 = 1000.0;

pub(super) struct Report {
    pub(super) run: Uuid,
    /// How many were in flight, and what came of it.
    pub(super) levels: Vec<(u32, Tally)>,
    pub(super) warm_ups: Vec<Tally>,
    /// What the catalogue says that happened.
    pub(super) books: Books,
}

impl Report {
    /// What does not add up, as sentences; none is good news.
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (in_flight, tally) in &self.levels {
            problems.extend(
                problems_of(tally).into_iter().map(|p| format!("With {in_flight} in flight: {p}")),
            );
        }
        for tally in &self.warm_ups {
            problems.extend(problems_of(tally).into_iter().map(|p| format!("Warming up: {p}")));
        }
        let all = || self.levels.iter().map(|(_, tally)| tally).chain(&self.warm_ups);
        // An order whose end we do not know may have been sold, and may still be held.
        let unknown: u64 = all().flat_map(|tally| tally.unknown.values()).sum();
        let confirmed: u64 = all().map(|tally| tally.confirmed).sum();
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

    /// For people.
    pub(super) fn text(&self, problems: &[String]) -> String {
        let heading = [
            "IN FLIGHT",
            "SAGAS/S",
            "P50 MS",
            "P90 MS",
            "P99 MS",
            "MAX MS",
            "SENT",
            "CONFIRMED",
            "DECLINED",
            "OTHER",
            "REPEATED CALLS",
        ];
        let rows = self.levels.iter().map(|(in_flight, tally)| {
            let [p50, p90, p99, max] = latencies(tally).map(|(_, millis)| format!("{millis:.1}"));
            let other = tally.piled() - tally.confirmed - tally.declined;
            [
                in_flight.to_string(),
                format!("{:.0}", tally.rate()),
                p50,
                p90,
                p99,
                max,
                tally.sent.to_string(),
                tally.confirmed.to_string(),
                tally.declined.to_string(),
                other.to_string(),
                tally.repeats.to_string(),
            ]
        });
        let verdict = if problems.is_empty() {
            format!(
                "It adds up: every order ended as its card asked for, and the catalogue sold {}.",
                self.books.sold
            )
        } else {
            format!("It does not add up:\n  {}", problems.join("\n  "))
        };
        format!("{}\n\n{verdict}", table(heading, rows))
    }

    /// For programs.
    pub(super) fn json(&self, problems: &[String]) -> Value {
        let levels: Vec<_> = self
            .levels
            .iter()
            .map(|(in_flight, tally)| {
                let latencies: BTreeMap<_, _> = latencies(tally).into_iter().collect();
                json!({
                    "inFlight": in_flight,
                    "sagasPerSecond": tally.rate(),
                    "seconds": tally.elapsed.as_secs_f64(),
                    "latencyMillis": latencies,
                    "sent": tally.sent,
                    "confirmed": tally.confirmed,
                    "declined": tally.declined,
                    "unexpected": tally.unexpected,
                    "unknown": tally.unknown,
                    "repeatedCalls": tally.repeats,
                })
            })
            .collect();
        json!({
            "run": self.run,
            "levels": levels,
            "warmUpOrders": self.warm_ups.iter().map(|tally| tally.sent).sum::<u64>(),
            "catalogue": {"sold": self.books.sold, "reserved": self.books.reserved, "unbalanced": self.books.unbalanced},
            "addsUp": problems.is_empty(),
            "problems": problems,
        })
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
    if tally.sent == 0 {
        problems.push("no order was sent.".to_owned());
    }
    problems.extend(tally.unexpected.iter().map(|(how, count)| format!("{count} ended as {how}.")));
    problems.extend(
        tally.unknown.iter().map(|(code, count)| format!("the end of {count} is unknown: {code}.")),
    );
    problems
}

fn latencies(tally: &Tally) -> [(&'static str, f64); 4] {
    let histogram = &tally.latency_micros;
    [
        ("p50", histogram.value_at_quantile(0.5)),
        ("p90", histogram.value_at_quantile(0.9)),
        ("p99", histogram.value_at_quantile(0.99)),
        ("max", histogram.max()),
    ]
    .map(|(name, micros)| (name, micros as f64 / MICROS_A_MILLI))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(sold: i64, reserved: i64) -> Report {
        Report {
            run: Uuid::nil(),
            levels: vec![(8, Tally::of(90, 10))],
            warm_ups: vec![Tally::of(9, 1)],
            books: Books { sold, reserved, unbalanced: 0 },
        }
    }

    #[test]
    fn what_was_confirmed_is_what_was_sold() {
        assert_eq!(report(99, 0).problems(), Vec::<String>::new());
        assert!(report(99, 0).text(&[]).ends_with("the catalogue sold 99."));
        for (sold, reserved) in [(98, 0), (100, 0), (-1, 0), (99, 1)] {
            let report = report(sold, reserved);
            let problems = report.problems();
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert_eq!(report.json(&problems)["addsUp"], false);
        }
    }

    #[test]
    fn an_order_whose_end_is_unknown_may_or_may_not_have_been_sold() {
        for sold in [99, 100] {
            let mut report = report(sold, 1);
            report.levels[0].1.unknown.insert("UNAVAILABLE".to_owned(), 1);
            report.levels[0].1.sent += 1;
            assert_eq!(
                report.problems(),
                ["With 8 in flight: the end of 1 is unknown: UNAVAILABLE."]
            );
        }
    }

    #[test]
    fn an_order_that_nobody_counted_is_missed() {
        let mut report = report(99, 0);
        report.levels[0].1.sent += 1;
        assert_eq!(
            report.problems(),
            ["With 8 in flight: 101 orders were sent, and 100 are accounted for."]
        );
    }
}
