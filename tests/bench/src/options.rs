//! The command line.

use std::{path::PathBuf, str::FromStr, time::Duration};

use super::drive::Bounds;
use saga_cli::Connection;

const MOST_IN_FLIGHT: i64 = 20_000;
const MOST_ORDERS: u64 = 10_000_000;
const MOST_SKUS: u64 = 10_000;
const MOST_SECONDS: f64 = 3600.0;
const MOST_ROUNDS: i64 = 99;
/// Default levels for a system that is already running …
const FEW_LEVELS: [u32; 2] = [1, 256];
/// … and for one that the bench starts.
const ALL_LEVELS: [u32; 6] = [1, 16, 64, 256, 1_000, 4_000];
const ALL_RATES: [Arrival; 2] = [Arrival::Share(0.7), Arrival::Share(1.5)];
const MANY_ROUNDS: u32 = 3;

const EXAMPLES: &str = "\
Examples:
  saga-bench                                          a system that runs, at 1 and at 256 in flight
  saga-bench --in-flight 1,16,256 --seconds 30 --rounds 3
  saga-bench --open 500,0.7x --honour-advice          500 orders a second, then 0.7 of saturation
  saga-bench --embedded --plot embedded.svg           starts `saga all --data-dir`, measures everything
  saga-bench --servers --process-a-role --json        starts the roles on the servers of SAGA_*_URL
  scripts/bench                                       both, on throw-away servers of its own

Closed loop (--in-flight): each of so many callers places an order, waits for its end, places the
next. Open loop (--open): orders come at a constant rate whatever became of those before; their
latency counts from when they were to come, so a stall shows in full (no coordinated omission).
One order in so many has a card that is declined. Half of them want one of 1 % of the products.

SAGAS/S are completed sagas. LOCAL TX/S are the participants' local transactions, each an effect
with its recorded answer: six for a confirmed order (create, reserve, authorise, capture, commit,
confirm), five for a declined one (create, reserve, the refusal, release, reject).

What was started is also compared with what it stands on: the floor (like orders,
carried out by the stores and the services' tables, set-wise and nothing else), the broker's own limit, and, at one in flight, the
commits and hops that no saga can do without. docs/performance.md says how to read that.

The environment's settings reach what is started (SAGA_MAX_IN_FLIGHT=1000 has overload refused
sooner). With --embedded nothing is needed and nothing is left behind. With --servers the databases that
the environment names are written to: use throw-away ones. Run one bench at a time.

Exit code: 0 it adds up, 1 it does not (what the catalogue sold is not what was confirmed, an
order ended otherwise than its card asked for), 2 the system cannot be reached.";

/// Measures how many sagas a second a system completes, how long each takes, and what that costs.
#[derive(clap::Parser)]
#[command(version, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Bench {
    /// Start the embedded system (SQLite, one process) in a temporary directory and measure it
    #[arg(long, conflicts_with_all = ["server", "servers"])]
    pub(super) embedded: bool,
    /// Start every role on the PostgreSQL and RabbitMQ of the environment (see `saga settings`)
    #[arg(long, conflicts_with = "server")]
    pub(super) servers: bool,
    /// Each role a process of its own, not all in one
    #[arg(long, requires = "servers")]
    pub(super) process_a_role: bool,
    /// Closed loop: how many orders at once; a level for each number [a running system: 1,256;
    /// otherwise: 1,16,64,256,1000,4000]
    #[arg(long, value_delimiter = ',', value_name = "N,…",
          value_parser = clap::value_parser!(u32).range(1..=MOST_IN_FLIGHT))]
    in_flight: Vec<u32>,
    /// Open loop: how many orders a second, or which share of the best closed level (1.5x is
    /// overload) [a running system: none; otherwise: 0.7x,1.5x; `none`]
    #[arg(long, value_delimiter = ',', value_name = "RATE|SHAREx,…")]
    open: Vec<Arrival>,
    /// In the open loop, place an order again that was refused for want of room, when the server
    /// advises; otherwise it counts as refused
    #[arg(long)]
    pub(super) honour_advice: bool,
    /// How often everything is measured; the figures are the medians [a running system: 1;
    /// otherwise: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_ROUNDS))]
    rounds: Option<u32>,
    /// How many seconds each level and rate is measured
    #[arg(long, default_value = "10", value_name = "S", value_parser = seconds)]
    seconds: Duration,
    /// In the closed loop: after how many ended orders a measurement stops before its time
    #[arg(long, default_value_t = MOST_ORDERS, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_ORDERS))]
    orders: u64,
    /// How long to warm up before each, at least; these orders are not measured
    #[arg(long, default_value = "3", value_name = "S", value_parser = seconds)]
    warm_up: Duration,
    /// How many of a hundred cards are declined
    #[arg(long, default_value_t = 10, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(0..=100))]
    pub(super) decline_percent: u64,
    /// How many products there are
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_SKUS))]
    pub(super) skus: u64,
    /// Somebody listens to every domain event: a durable queue, consumed and acknowledged
    #[arg(long, requires = "servers")]
    pub(super) event_consumer: bool,
    /// Only the system: leave out the floor, the broker's limit and the unavoidable sum
    #[arg(long)]
    pub(super) without_limits: bool,
    /// Where a running system's processes show their metrics, for batch sizes and messages
    #[arg(long, value_delimiter = ',', value_name = "URL,…", conflicts_with_all = ["embedded", "servers"])]
    pub(super) metrics: Vec<String>,
    /// Draw throughput and latency over load into this SVG file
    #[arg(long, value_name = "FILE")]
    pub(super) plot: Option<PathBuf>,
    /// Write what --json would print into this file, and the tables to standard output
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(super) save: Option<PathBuf>,
    #[command(flatten)]
    pub(super) connection: Connection,
}

/// The rate of an open loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Arrival {
    Rate(f64),
    /// A share of the best closed level's rate in the same run.
    Share(f64),
    None,
}

impl FromStr for Arrival {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, is_share) = match text.strip_suffix('x') {
            Some(share) => (share, true),
            None => (text, false),
        };
        match number.parse::<f64>() {
            _ if text == "none" => Ok(Self::None),
            Ok(share) if is_share && (0.01..=10.0).contains(&share) => Ok(Self::Share(share)),
            Ok(rate) if !is_share && (0.1..=1e6).contains(&rate) => Ok(Self::Rate(rate)),
            Ok(_) | Err(_) => {
                Err("a rate from 0.1 to 1000000, a share from 0.01x to 10x, or none".to_owned())
            }
        }
    }
}

impl Bench {
    pub(crate) fn json(&self) -> bool {
        self.connection.json
    }

    /// Returns whether the bench starts the system itself.
    pub(super) fn is_started(&self) -> bool {
        self.embedded || self.servers
    }

    pub(super) fn levels(&self) -> Vec<u32> {
        match (self.in_flight.is_empty(), self.is_started()) {
            (false, _) => self.in_flight.clone(),
            (true, true) => ALL_LEVELS.to_vec(),
            (true, false) => FEW_LEVELS.to_vec(),
        }
    }

    pub(super) fn rates(&self) -> Vec<Arrival> {
        let given = if self.open.is_empty() && self.is_started() {
            ALL_RATES.to_vec()
        } else {
            self.open.clone()
        };
        given.into_iter().filter(|arrival| *arrival != Arrival::None).collect()
    }

    pub(super) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.is_started() { MANY_ROUNDS } else { 1 })
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds { warm_up: self.warm_up, time: self.seconds, orders: self.orders }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=MOST_SECONDS).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        Ok(_) | Err(_) => Err(format!("a number of seconds from 0 to {MOST_SECONDS}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_shows_an_example() {
        let bench = Bench::command();
        bench.clone().debug_assert();
        let examples = bench.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(examples.contains("saga-bench --in-flight"), "{examples}");
    }

    #[test]
    fn a_rate_a_share_or_none() {
        assert_eq!("500".parse(), Ok(Arrival::Rate(500.0)));
        assert_eq!("0.7x".parse(), Ok(Arrival::Share(0.7)));
        assert_eq!("none".parse(), Ok(Arrival::None));
        for wrong in ["0", "-1", "0x", "11x", "NaN", "x", "fast", ""] {
            assert!(wrong.parse::<Arrival>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn seconds_may_have_fractions_and_have_a_bound() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["-1", "4000", "NaN", "inf", ""] {
            assert!(seconds(wrong).is_err(), "{wrong:?}");
        }
    }
}
