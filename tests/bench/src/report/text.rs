//! The report as text for people.

use std::fmt::Write as _;

use super::{Figures, Load, Measured, Report};
use saga_cli::table;

use crate::{floor, limits::Limits, path::Wait, processes::NOT_MEASURED};

/// Stands for a figure that is missing.
const NONE: &str = "-";
const MIB: f64 = 1024.0 * 1024.0;

impl Report {
    /// Renders the report as tables.
    pub(crate) fn text(&self, problems: &[String]) -> String {
        let mut text = format!("{}\n\n{}\n", self.of, self.speeds());
        let _ = write!(text, "\n{}\n", self.costs());
        let memory = self.memory();
        if !memory.is_empty() {
            let each: Vec<_> = memory
                .iter()
                .map(|(name, bytes)| format!("{name} {:.0} MiB", *bytes as f64 / MIB))
                .collect();
            let _ = write!(text, "\nPeak memory: {}\n", each.join(", "));
        }
        if let Some(why) = NOT_MEASURED {
            let _ = write!(text, "\n{why}\n");
        }
        if let Some(events) = self.events {
            let _ = write!(text, "\nThe event consumer received {events} events.\n");
        }
        if let Some(limits) = &self.limits {
            let _ = write!(text, "\n{}\n", self.standing(limits));
        }
        let verdict = if problems.is_empty() {
            format!(
                "It adds up: every order ended as its card asked for, and the catalogue sold {}.",
                self.books.sold
            )
        } else {
            format!("It does not add up:\n  {}", problems.join("\n  "))
        };
        let _ = write!(text, "\n{verdict}");
        text
    }

    fn speeds(&self) -> String {
        let heading = [
            "LOAD",
            "SAGAS/S",
            "LOCAL TX/S",
            "P50 MS",
            "P90 MS",
            "P99 MS",
            "MAX MS",
            "OF FLOOR",
            "OF BROKER",
            "REFUSED/S",
            "REPEATED",
        ];
        let row = |this: &Measured| {
            let figures = self.figures(this);
            let whole = |name: &str| shown(&figures, name, 0);
            let fine = |name: &str| shown(&figures, name, 1);
            [
                this.load.name(),
                whole("sagasPerSecond"),
                whole("localTransactionsPerSecond"),
                fine("latencyMillis.p50"),
                fine("latencyMillis.p90"),
                fine("latencyMillis.p99"),
                fine("latencyMillis.max"),
                shown(&figures, "ratios.ofFloor", 3),
                shown(&figures, "ratios.ofBroker", 3),
                match this.load {
                    Load::Closed { .. } => NONE.to_owned(),
                    Load::Open { .. } => fine("refusedPerSecond"),
                },
                this.tally().repeats.to_string(),
            ]
        };
        table(heading, self.measured.iter().map(row))
    }

    fn costs(&self) -> String {
        let heading =
            ["LOAD", "CPU MS A SAGA", "COMMITS A SAGA", "MESSAGES A SAGA", "BATCHES AND PARCELS"];
        let row = |this: &Measured| {
            let figures = self.figures(this);
            [
                this.load.name(),
                with_parts(&figures, "cpuMillisPerSaga", 2),
                shown(&figures, "commitsPerSaga", 2),
                with_parts(&figures, "messagesPerSaga", 2),
                [parts(&figures, "batch", 1), parts(&figures, "parcel", 1)].join("; "),
            ]
        };
        table(heading, self.measured.iter().map(row))
    }

    fn standing(&self, limits: &Limits) -> String {
        let floor = &limits.floor;
        let mut text = format!(
            "The floor: {:.0} sagas/s, {:.0} local transactions/s ({:.1} rows a saga, {} commits a batch of {}).\n",
            floor.sagas_a_second,
            floor.sagas_a_second * floor.local_transactions_a_saga,
            floor.rows_a_saga,
            floor.commits_a_batch,
            floor::BATCH,
        );
        if let Some(broker) = &limits.broker {
            let _ = writeln!(
                text,
                "The broker's own limit: {:.0} messages/s, {:.0} sagas/s at {:.2} messages a saga (events {}).",
                broker.messages_a_second,
                broker.sagas_a_second,
                broker.mix.messages_a_saga(),
                if broker.events_are_consumed { "consumed" } else { "heard by nobody" },
            );
        }
        let (sum, count) = (limits.sum(), |wait| limits.path.count(wait));
        let _ = writeln!(
            text,
            "One order cannot help waiting {:.2} ms, for {} commits, {} hops, {} confirms and the provider {} times\n\
             (at the fastest tenth of each, which others on the machine disturb less, {:.2} ms):",
            sum.millis(),
            count(Wait::Commit),
            count(Wait::Hop),
            count(Wait::Confirm),
            count(Wait::Provider),
            sum.tenth_millis(),
        );
        for part in &limits.path.parts {
            let each = limits.costs.of(part.wait);
            let (median, tenth) = (each.millis(), each.tenth_millis());
            let (count, wait) = (part.count, part.wait.name());
            let _ = writeln!(
                text,
                "  {count:>2} × {wait:<8} {median:>6.2} ms ({tenth:.2})  {}",
                part.why
            );
        }
        let alone = self.measured.iter().find(|this| this.load == Load::Closed { in_flight: 1 });
        let figures = alone.map(|this| self.figures(this)).unwrap_or_default();
        let ratio = |name: &str| figures.get(&format!("ratios.{name}"));
        if let (Some(median), Some(tenth)) = (ratio("p50ToUnavoidable"), ratio("p50ToFastestTenth"))
        {
            let _ = write!(
                text,
                "With one in flight, half of them took up to {median:.2} times that ({tenth:.2})."
            );
        }
        text.trim_end().to_owned()
    }
}

fn shown(figures: &Figures, name: &str, digits: usize) -> String {
    figures.get(name).map_or_else(|| NONE.to_owned(), |value| format!("{value:.digits$}"))
}

/// Formats the figures of one level, such as those of all processes.
fn parts(figures: &Figures, name: &str, digits: usize) -> String {
    let all: Vec<_> = figures
        .below(name)
        .filter(|(part, _)| *part != "total")
        .map(|(part, value)| format!("{part} {value:.digits$}"))
        .collect();
    if all.is_empty() { NONE.to_owned() } else { all.join(", ") }
}

fn with_parts(figures: &Figures, name: &str, digits: usize) -> String {
    match figures.get(&format!("{name}.total")) {
        Some(total) => format!("{total:.digits$} ({})", parts(figures, name, digits)),
        None => NONE.to_owned(),
    }
}
