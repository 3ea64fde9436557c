//! Chaos tests: real processes, a real Postgres and a real RabbitMQ, faults that are derived from a
//! seed, and then the audit. `scripts/chaos --help` says more.
//!
//! This program uses the system only as an operator and a client can: through processes,
//! environment variables, gRPC, the broker and SQL. It imports nothing of engine, kit or services.
//! Only the program beside it, `bin/crashing`, wraps their ports.
//!
//! Read first: `schedule.rs` (which fault comes when), then [`chaos`].

mod client;
mod faults;
mod hostile;
mod judge;
mod machine;
mod outage;
mod report;
mod schedule;
mod seed;
mod system;

use std::{io::Write as _, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Parser;

use crate::{
    client::Client, faults::Injector, judge::Findings, machine::Machine, report::Report,
    schedule::Schedule, system::System,
};

/// Exit status for wrong usage, as in sysexits.h.
const EX_USAGE: i32 = 64;
/// Exit status if the run could not be carried out.
const CANNOT_RUN: u8 = 2;
/// Time limit for all orders to end after the last fault is healed: twice the longest pause between
/// two sendings of a command.
const REST: Duration = Duration::from_secs(180);

/// A duration that is longer than any run.
const FOR_EVER: Duration = Duration::from_secs(7 * 86_400);

const EXAMPLES: &str = "\
Examples:
  scripts/chaos --minutes 2 --seed 7        two minutes of faults, then the verdict
  scripts/chaos --minutes 30 --seed 7       the same faults, and those that come after them
  scripts/chaos --minutes 2 --seed 7 --json | jq .crashPoints
  scripts/chaos --other-build old/saga      the same as a rolling upgrade, old and new side by side
  scripts/chaos --outage broker             70 % of the saturation, and three time-outs without a broker
  scripts/chaos --outage database --way silence --lasts 60
                                            a minute without a word from the database's host

What runs: one PostgreSQL, one RabbitMQ, two orchestrators, two each of order, inventory and payment,
the payment provider, and a proxy between each process and each of its servers. Orders arrive
at a constant rate, whatever becomes of them. Every 5 to 20 seconds a fault comes: kill -9 of any
process or server, restarts, terminated backends, blackholes, connections that fall silent for good,
resets (also during COMMIT), delays, a trickle, SIGSTOP past every time-out, repeated and poisonous messages, deleted queues, a role's
replicas replaced one by one, a clock that is an hour off, a full disk. Beside them each role is made to crash at each of its crash points (SAGA_CRASH_AT), one after the other.

The seed is the whole schedule: the same seed, the same faults in the same order. Timing between
processes is the machine's, so that a failure may need more than one run of its seed.

Then everything is healed, every order must end, `saga audit` must pass, and the client's log is
compared with the books: an accepted order that is in no book is lost, a second order for a key is
doubled, an answer that the books contradict is a lie.

Recovery is the time from a fault's end (the process serves again, the server takes connections,
bytes pass) until eight orders that were placed in a row since then have ended as their cards ask.

Exit code: 0 all is well; 1 something is lost, doubled, contradicted or unfinished, a process ended by
itself, a crash point was never reached, or the audit fails; 2 the run could not be made; 64 wrong
usage. On failure it names the directory with every process's log and the client's.";

/// Runs the whole system under faults, and says whether anything was lost or doubled.
#[derive(Parser)]
#[command(name = "scripts/chaos", after_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    /// How long faults come
    #[arg(long, default_value_t = 2.0, value_name = "N", value_parser = minutes)]
    minutes: f64,
    /// Which faults, and when
    #[arg(long, default_value_t = 1, value_name = "S")]
    seed: u64,
    /// Orders a second; with --outage, instead of 70 % of what is measured
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Instead: take this one away for a while, under load
    #[arg(long, value_name = "WHAT")]
    outage: Option<outage::Victim>,
    /// How the outage takes it away
    #[arg(long, value_name = "WAY", default_value = "kill", requires = "outage")]
    way: outage::Way,
    /// How long the outage lasts, in seconds [default: three step time-outs]
    #[arg(long, value_name = "SECONDS", requires = "outage", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    lasts: Option<u64>,
    /// How long a step's answer is waited for before it is sent again
    #[arg(long, default_value_t = 1_500, value_name = "MS", value_parser = clap::value_parser!(u64).range(200..=60_000))]
    step_timeout_millis: u64,
    /// Another build of `saga`, with its `saga-crashing` beside it: replicas that are replaced one by one go from one to the other
    #[arg(long, value_name = "PROGRAM", conflicts_with = "outage")]
    other_build: Option<PathBuf>,
    /// Keep the logs here, instead of in a new directory that is removed when all is well
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Print the schedule of the seed, and run nothing
    #[arg(long)]
    plan: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    within(text, 0.1, 1_440.0)
}

fn rate(text: &str) -> Result<f64, String> {
    within(text, 0.1, 5_000.0)
}

fn within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(format!("a number from {least} to {most}")),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        std::process::exit(if error.use_stderr() { EX_USAGE } else { 0 });
    });
    if !arguments.plan
        && arguments.outage.is_none()
        && let Err(error) = machine::enter()
    {
        eprintln!("scripts/chaos: {error:#}");
        return ExitCode::from(CANNOT_RUN);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let outcome = runtime.block_on(run(&arguments));
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("scripts/chaos: {error:#}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<bool> {
    let length = Duration::from_secs_f64(arguments.minutes * 60.0);
    let schedule = Schedule::new(arguments.seed, length);
    if arguments.plan {
        say(&report::plan(&schedule));
        return Ok(true);
    }
    let temporary = tempfile::Builder::new().prefix("saga-chaos-").tempdir()?;
    let dir = match &arguments.logs {
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            dir.canonicalize()?
        }
        None => temporary.path().to_owned(),
    };
    let ran = match arguments.outage {
        Some(victim) => {
            let seconds = arguments.lasts.map(Duration::from_secs);
            let lasts = seconds.unwrap_or(Duration::from_millis(arguments.step_timeout_millis) * 3);
            outage::run(outage::Outage { victim, way: arguments.way, lasts }, arguments, &dir).await
        }
        None => chaos(arguments, &schedule, length, &dir).await,
    };
    let well = matches!(ran, Ok(true));
    if !well {
        let kept = temporary.keep();
        let dir = if arguments.logs.is_some() { dir } else { kept };
        eprintln!("logs of all processes, the client's log and the audit: {}", dir.display());
    }
    ran
}

async fn chaos(
    arguments: &Arguments,
    schedule: &Schedule,
    length: Duration,
    dir: &std::path::Path,
) -> anyhow::Result<bool> {
    let step_timeout = Duration::from_millis(arguments.step_timeout_millis);
    let other_build = arguments.other_build.as_ref().map(|path| path.canonicalize());
    let other_build = other_build.transpose().context("--other-build")?;
    let system =
        Arc::new(System::start(dir, step_timeout, Some(Machine::new()?), other_build).await?);
    let channels = vec![system.channel("orchestrator-1")?, system.channel("orchestrator-2")?];
    let client = Client::new(dir, channels, false)?;
    let injector = Injector::new(Arc::clone(&system), client.clone());
    let watching = tokio::spawn(injector.clone().watch());
    let rate = arguments.rate.unwrap_or(10.0);
    let arriving = tokio::spawn({
        let client = client.clone();
        // Orders must keep arriving after the last fault, to measure its recovery, and while missed
        // crash points are tried once more.
        async move { client.arrive(rate, FOR_EVER).await }
    });
    injector.run(schedule, length).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    arriving.abort();
    client.rest(REST).await;
    watching.abort();
    let mut findings = Findings::default();
    let orders = client.log_so_far();
    let books = judge::read(&system, &mut findings).await?;
    judge::compare(&orders, &books, &mut findings);
    judge::audit(&system, true, &mut findings).await?;
    findings.recovery = judge::recovery(&orders, &injector.injected());
    let report = Report::new(arguments.seed, schedule, &injector, findings);
    say(&if arguments.json { report.json() } else { report.text() });
    Ok(report.passed())
}

fn say(text: &str) {
    // Writing fails if the reader has closed the pipe, which is fine.
    let _ = writeln!(std::io::stdout().lock(), "{}", text.trim_end());
}
