//! Displays a run: as a live bar on a terminal, otherwise as plain lines.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::orders::Clients;

const REFRESH: Duration = Duration::from_millis(100);
/// Without a terminal, a line is printed whenever this many more per cent of the orders have ended.
const LINE_EVERY_PERCENT: u32 = 20;

/// Prints everything that the demo shows.
pub(super) struct View {
    json: bool,
    began: Instant,
    bar: ProgressBar,
}

impl View {
    /// Creates a view. With `json`, only the summary goes to stdout.
    pub(super) fn new(json: bool, orders: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(orders), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len}  {msg}") {
            bar.set_style(style);
        }
        Self { json, began: Instant::now(), bar }
    }

    /// Shows a title.
    pub(super) fn heading(&self, text: &str) {
        self.say(&format!("\n== {text}"));
    }

    /// Prints lines of text, above the bar if there is one.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| self.write(text));
    }

    /// Prints an event with the time since the start.
    pub(super) fn event(&self, text: &str) {
        self.say(&format!("{:6.1} s  {text}", self.began.elapsed().as_secs_f64()));
    }

    /// Displays the progress until every order has ended.
    pub(super) async fn follow(&self, clients: &Clients) {
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
        let mut told = 0;
        loop {
            let standing = clients.standing();
            let now = format!(
                "{:.0}/s, {} in flight, {}",
                standing.a_second, standing.in_flight, standing.piles
            );
            self.bar.set_position(standing.ended.into());
            self.bar.set_message(now.clone());
            let percent = u64::from(standing.ended) * 100 / u64::from(clients.count().max(1));
            let step = u32::try_from(percent).unwrap_or(100) / LINE_EVERY_PERCENT;
            if self.bar.is_hidden() && step > told {
                told = step;
                self.event(&format!("{}/{} ended: {now}", standing.ended, clients.count()));
            }
            if standing.ended >= clients.count() {
                return;
            }
            tokio::time::sleep(REFRESH).await;
        }
    }

    /// Shows that all orders have ended.
    pub(super) fn done(&self, clients: &Clients) {
        self.bar.finish_and_clear();
        let standing = clients.standing();
        self.event(&format!("all orders have ended, {:.0} a second", standing.a_second));
    }

    /// Prints the reason why the demo could not go on.
    pub(super) fn failed(&self, error: &anyhow::Error) {
        self.bar.finish_and_clear();
        // If stderr cannot be written either, nobody can be informed.
        let _ = writeln!(io::stderr().lock(), "saga demo: {error:#}");
    }

    /// Prints the summary for programs as the last line, if it was asked for.
    pub(super) fn summary(&self, summary: &impl Serialize) {
        if self.json
            && let Ok(line) = serde_json::to_string(summary)
        {
            let _ = writeln!(io::stdout().lock(), "{line}");
        }
    }

    fn write(&self, text: &str) {
        // The reader may have closed the pipe (`| head`). That is not a reason to stop.
        let _ = if self.json {
            writeln!(io::stderr().lock(), "{text}")
        } else {
            writeln!(io::stdout().lock(), "{text}")
        };
    }
}
