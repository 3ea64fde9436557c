//! `saga bench`: a closed loop against a running system.
//!
//! `load` places the orders and counts what became of them, `stock` looks after the products and their books, `report`
//! says what came out.

mod load;
mod report;
mod stock;

use std::{io::IsTerminal as _, time::Duration};

use saga_proto::shop::v1::catalogue_client::CatalogueClient;
use uuid::Uuid;

use super::{
    connection::Connection,
    console::Console,
    failure::{Failure, Verdict},
};
pub(super) use load::until_ended;
use load::{Bounds, Level};
use report::Report;
use stock::Stock;

const MOST_IN_FLIGHT: i64 = 20_000;
const MOST_ORDERS: i64 = 10_000_000;
const MOST_SKUS: i64 = 10_000;
const MOST_SECONDS: i64 = 3600;

const EXAMPLES: &str = "\
Examples:
  saga bench
  saga bench --in-flight 1,16,256 --seconds 30
  saga bench --in-flight 512 --orders 20000 --decline-percent 0 --json

Each of the callers of a level places an order, waits for its end, and places the next. One
order in so many has a card that is declined, so both ways through the saga are measured. At
the end the catalogue must have sold what was confirmed, no more and no less. Exit code 1
says that the counts do not add up. Run one bench at a time: they share their products.";

/// Measures how many sagas a second the running system completes, and how long each takes.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Bench {
    /// How many orders at once; a level for each number
    #[arg(long, value_delimiter = ',', default_value = "1,256", value_name = "N,…",
          value_parser = clap::value_parser!(u32).range(1..=MOST_IN_FLIGHT))]
    in_flight: Vec<u32>,
    /// A level ends after so many orders …
    #[arg(long, default_value_t = 100_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_ORDERS as u64))]
    orders: u64,
    /// … or after so long
    #[arg(long, default_value_t = 10, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=MOST_SECONDS as u64))]
    seconds: u64,
    /// How long to warm up before each level; these orders are not measured
    #[arg(long, default_value_t = 2, value_name = "S", value_parser = clap::value_parser!(u64).range(0..=MOST_SECONDS as u64))]
    warm_up: u64,
    /// How many of a hundred cards are declined
    #[arg(long, default_value_t = 10, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=100))]
    decline_percent: u64,
    /// How many products the orders are spread over
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_SKUS as u64))]
    skus: u64,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl Bench {
    pub(super) async fn ask(self, console: &mut Console<'_>) -> Result<Verdict, Failure> {
        let run = Uuid::now_v7();
        let mut progress =
            Progress { shown: !console.json && std::io::stderr().is_terminal(), console };
        progress.show("restocking …")?;
        let stock = Stock { run, skus: self.skus, for_orders: self.most_orders() };
        let mut catalogue = CatalogueClient::new(self.connection.channel());
        let before = stock.receive(&catalogue).await?;

        let mut levels = Vec::new();
        let mut warm_ups = Vec::new();
        let mut first_order = 0;
        for &in_flight in &self.in_flight {
            let mut level = Level {
                endpoint: self.connection.server.clone(),
                run,
                skus: self.skus,
                decline_percent: self.decline_percent,
                in_flight,
                first_order,
                bounds: Bounds { orders: self.orders, time: Duration::from_secs(self.warm_up) },
            };
            if self.warm_up > 0 {
                let tally = level.drive(&mut progress, "warming up").await?;
                level.first_order += tally.sent;
                warm_ups.push(tally);
            }
            level.bounds.time = Duration::from_secs(self.seconds);
            let tally = level.drive(&mut progress, "measuring").await?;
            first_order = level.first_order + tally.sent;
            levels.push((in_flight, tally));
        }
        progress.show("reading the catalogue …")?;
        let after = stock.read(&mut catalogue).await?;
        progress.clear()?;

        let report = Report { run, levels, warm_ups, books: after.since(&before) };
        let problems = report.problems();
        if console.json {
            console.object(&report.json(&problems))?;
        } else {
            console.say(&report.text(&problems))?;
        }
        Ok(if problems.is_empty() { Verdict::Done } else { Verdict::Refused })
    }

    /// More orders than this cannot be placed, so this much of each product is always enough.
    fn most_orders(&self) -> i64 {
        let loops = self.in_flight.len() as u64 * 2;
        i64::try_from(self.orders.saturating_mul(loops)).unwrap_or(i64::MAX)
    }
}

/// One line on a terminal that is written over and over; nothing elsewhere.
struct Progress<'c, 'w> {
    shown: bool,
    console: &'c mut Console<'w>,
}

impl Progress<'_, '_> {
    fn show(&mut self, text: &str) -> Result<(), Failure> {
        if self.shown { self.console.sketch(&format!("\r\u{1b}[K{text}")) } else { Ok(()) }
    }

    fn clear(&mut self) -> Result<(), Failure> {
        self.show("")
    }
}
