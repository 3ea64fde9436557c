//! The command line of `saga audit`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use super::{Options, Sources};
use crate::config;

/// Exit code if an equation does not hold, or could not be judged.
const FAILED: u8 = 1;
/// Exit code if a database cannot be read.
const UNREADABLE: u8 = 2;
/// Exit code if the settings are wrong (`EX_USAGE`).
const USAGE: u8 = 64;

const EXPLANATION: &str = "\
It reads the databases and the payment provider's ledger, a snapshot each, and changes nothing: a
role that may only read is enough. What it compares:
  stock     what was received is available, reserved or sold; every level is the sum of its movements
  money     nothing was captured beyond its authorisation or refunded beyond its capture; the provider's
            ledger and ours agree line by line; captured less refunded is the total of what is CONFIRMED
  orders    order, saga, payment and stock tell one story, and the prices add up
  sagas     each history is whole and legal; nothing was undone after the pivot; what was undone was
            undone in reverse, all of it; every answer is on record at its participant, and its effect once
  retention what is below a watermark may be forgotten, and nothing that has not ended is below it
  keys      an idempotency key is bound to one saga and one payload

Examples:
  saga audit --data-dir ./saga-data             an embedded system's directory, whether it runs or not
  saga audit --data-dir ./saga-data --verbose   with every equation and what it says
  saga audit --wait 60                          the databases of SAGA_ORCHESTRATOR_DATABASE_URL,
                                                SAGA_ORDER_…, SAGA_INVENTORY_… and SAGA_PAYMENT_DATABASE_URL,
                                                the provider's ledger in SAGA_PROVIDER_DATA_DIR
  saga audit --safety --json | jq .equations    under load: only what holds at every instant

Databases are not read at one instant together, so what compares them is judged at rest: when no
saga is in progress. A stuck saga counts as at rest, is listed with its reason, and owes no end.
Exit code: 0 everything holds, 1 something does not, or sagas were still in progress, 2 the books
cannot be read, 64 wrong usage.";

/// Checks a system's books from outside: stock, money, orders and sagas must agree.
#[derive(clap::Args)]
#[command(after_help = EXPLANATION)]
pub(crate) struct Command {
    /// The directory of an embedded system; without it, databases come from the environment
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Wait so long for every saga to end before judging what holds at rest
    #[arg(long, default_value_t = 0, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    wait: u64,
    /// Judge only what holds at every instant, whatever is in progress
    #[arg(long)]
    safety: bool,
    /// An equation that found nothing to check fails
    #[arg(long)]
    require_rows: bool,
    /// How many orders there must be
    #[arg(long, value_name = "N")]
    expect_orders: Option<u64>,
    /// How many messages must be in the quarantine
    #[arg(long, default_value_t = 0, value_name = "N")]
    quarantined: u64,
    /// Show every equation with what it says, not only those that do not hold
    #[arg(long, conflicts_with = "json")]
    verbose: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command and prints its result to the process's own stdout and stderr.
pub(crate) async fn run(command: Command) -> ExitCode {
    let Command { data_dir, wait, safety, require_rows, expect_orders, quarantined, verbose, json } =
        command;
    let sources = match data_dir {
        Some(dir) => Sources::DataDir(dir),
        None => match config::read(&config::process, |env| env.audit()) {
            Ok(servers) => Sources::Servers(servers),
            Err(mistakes) => {
                let _ = writeln!(
                    io::stderr().lock(),
                    "saga: {mistakes}  - or --data-dir DIR, for an embedded system"
                );
                return ExitCode::from(USAGE);
            }
        },
    };
    let wait = Duration::from_secs(wait);
    let options =
        Options { safety, require_rows, expect_orders, quarantined, ..Options::default() };
    match super::run(&sources, wait, &options).await {
        Ok(report) => {
            let text = match (json, verbose) {
                (true, _) => format!("{}\n", report.json()),
                (false, true) => report.full(),
                (false, false) => report.summary(),
            };
            // A failed write means that the reader has closed the pipe and wants no more.
            let _ = io::stdout().lock().write_all(text.as_bytes());
            if report.passed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
        }
        Err(unreadable) => {
            let _ = if json {
                let error = serde_json::json!({"error": {"message": unreadable.to_string()}});
                writeln!(io::stderr().lock(), "{error}")
            } else {
                writeln!(io::stderr().lock(), "saga: {unreadable}")
            };
            ExitCode::from(UNREADABLE)
        }
    }
}
