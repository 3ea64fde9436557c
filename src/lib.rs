//! The program `saga` as a library: its command line, and the roles that it runs.
//!
//! `src/main.rs` only calls [`main`]. The programs of `tests/` use this library too: one wraps the
//! ports of the roles on servers ([`main_around`]), another one measures a system.
//!
//! Read first: [`main`], then `roles/servers.rs` and `roles/embedded.rs`.

mod audit;
pub mod child;
pub mod client;
pub mod config;
mod demo;
mod meaning;
mod permissions;
mod prune;
mod reconcile;
pub mod roles;
pub mod secrets;
pub mod setup;
mod signals;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use config::{Environment, Mistakes};
use roles::{Around, Product};
use saga_telemetry::Settings;
use signals::StopSignals;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// The allocator of every program that uses this library.
///
/// Turns, parcels and rows make many short-lived allocations. In measurements, the C library's
/// allocator took a sixth of the program's time. This is mimalloc's second version, because it
/// returns memory to the system within milliseconds. With the third version, 4,000 orders in flight
/// used a sixth more memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit status for wrong settings, as in sysexits.h.
const EX_USAGE: u8 = saga_cli::USAGE;

/// A saga orchestrator for order, inventory and payment services, native to RabbitMQ.
///
/// Roles take their settings from the environment: see `saga settings`.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the whole system at work, with nothing but this program
    Demo(demo::Demo),
    Setup(setup::Command),
    /// Find permissions that are wider than the roles need
    Doctor(permissions::Doctor),
    /// Run the orchestrator: the engine, and gRPC for clients and operators
    Orchestrator,
    /// Run the inventory service
    Inventory,
    /// Run the payment service
    Payment,
    /// Run the test payment provider, an HTTP service with its own ledger
    Provider,
    /// Run every role in this one process
    All(All),
    /// Check a system's books from outside: stock, money, orders and sagas must agree
    Audit(audit::Command),
    /// Bring the databases together after one of them was restored, and name what is left
    Reconcile(reconcile::Command),
    /// Delete what has ended longer ago than the retention
    Prune(prune::Command),
    /// List every setting, with its default
    Settings,
    #[command(flatten)]
    Client(client::Command),
}

/// Runs every role in this one process.
///
/// With `--data-dir` it needs nothing else: SQLite files in that directory, and messages in
/// memory. Otherwise it runs `setup` and uses PostgreSQL and RabbitMQ.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  saga all --data-dir saga-data
  SAGA_ORCHESTRATOR_LISTEN=127.0.0.1:8400 saga all --data-dir saga-data

It may be killed at any moment and started again: every accepted order is finished then.
One process at a time uses a directory; `saga audit --data-dir saga-data` may look meanwhile.")]
struct All {
    /// Keep everything in this directory, which is made if it is missing
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// Runs the program `saga`: parses its arguments, runs the command, and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    main_around(Product)
}

/// Runs the same program, but wraps the ports of the roles on servers with `around`.
pub fn main_around(around: impl Around) -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        std::process::exit(if error.use_stderr() { EX_USAGE.into() } else { 0 });
    });
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&anyhow::Error::from(error)),
    };
    let status = match arguments.command {
        Command::Client(client::Command::Order(order)) if order.is_role() => {
            let run = async |settings, stop| roles::order(settings, around, stop).await;
            runtime.block_on(role("order", |env| env.order(), run))
        }
        Command::Client(command) => runtime.block_on(client::run(command)),
        Command::Demo(demo) => runtime.block_on(show(demo)),
        Command::Audit(audit) => runtime.block_on(audit::command(audit)),
        Command::Reconcile(reconcile) => runtime.block_on(reconcile::command(reconcile)),
        Command::Prune(prune) => runtime.block_on(prune::run(prune)),
        Command::Settings => {
            let _ = io::stdout().lock().write_all(config::HELP.as_bytes());
            ExitCode::SUCCESS
        }
        Command::Setup(setup::Command { plan: true, .. }) => runtime.block_on(setup::plan()),
        Command::Setup(setup::Command { definitions: true, .. }) => {
            with_broker_names(|prefix, users| {
                let definitions = permissions::Table::of(prefix, users).definitions();
                writeln!(io::stdout().lock(), "{definitions:#}")?;
                Ok(ExitCode::SUCCESS)
            })
        }
        Command::Doctor(doctor) => {
            with_broker_names(|prefix, users| permissions::doctor(&doctor, prefix, users))
        }
        Command::Setup(_) => runtime.block_on(role(
            "setup",
            |env| env.setup(),
            async |settings, _| setup::setup(&settings).await,
        )),
        Command::Orchestrator => {
            let run = async |settings, stop| roles::orchestrator(settings, around, stop).await;
            runtime.block_on(role("orchestrator", |env| env.orchestrator(), run))
        }
        Command::Inventory => {
            let run = async |settings, stop| roles::inventory(settings, around, stop).await;
            runtime.block_on(role("inventory", |env| env.inventory(), run))
        }
        Command::Payment => {
            let run = async |settings, stop| roles::payment(settings, around, stop).await;
            runtime.block_on(role("payment", |env| env.payment(false), run))
        }
        Command::Provider => {
            runtime.block_on(role("provider", |env| env.provider(), roles::provider))
        }
        Command::All(All { data_dir: None }) => {
            let run = async |settings, stop| roles::all(settings, around, stop).await;
            runtime.block_on(role("all", |env| env.all(), run))
        }
        Command::All(All { data_dir: Some(data_dir) }) => {
            runtime.block_on(role("all", |env| env.embedded(data_dir), roles::embedded))
        }
    };
    runtime.shutdown_background();
    status
}

/// Runs the demo. Unless SAGA_LOG is set, its roles log nothing, because kills cause many messages.
async fn show(demo: demo::Demo) -> ExitCode {
    let filter = config::process("SAGA_LOG").unwrap_or_else(|| "off".to_owned());
    let read = config::read(&config::process, |env| env.telemetry());
    let telemetry = match read {
        Ok(read) => saga_telemetry::Settings { filter, ..read },
        Err(mistakes) => return wrong(&mistakes),
    };
    if let Err(error) = saga_telemetry::start(&telemetry) {
        return failed(&error.into());
    }
    demo::run(demo).await
}

/// Runs a command that needs only the broker's names: the prefix, and the users of the roles.
fn with_broker_names(
    run: impl FnOnce(&str, &saga_rabbitmq::Users) -> anyhow::Result<ExitCode>,
) -> ExitCode {
    match config::read(&config::process, |env| env.broker_names()) {
        Ok((prefix, users)) => run(&prefix, &users).unwrap_or_else(|error| failed(&error)),
        Err(mistakes) => wrong(&mistakes),
    }
}

/// Reads one role's settings and runs the role until it ends.
async fn role<T>(
    name: &str,
    settings: impl FnOnce(&mut Environment<'_>) -> T,
    run: impl AsyncFnOnce(T, CancellationToken) -> anyhow::Result<()>,
) -> ExitCode {
    let read = config::read(&config::process, |env| (env.telemetry(), settings(env)));
    let (telemetry, settings) = match read {
        Ok(read) => read,
        Err(mistakes) => return wrong(&mistakes),
    };
    let service = format!("saga-{name}");
    let telemetry = match saga_telemetry::start(&Settings { service, ..telemetry }) {
        Ok(telemetry) => telemetry,
        Err(error) => return failed(&error.into()),
    };
    meaning::describe();
    let shutdown = CancellationToken::new();
    if let Err(error) = drain_on_signal(shutdown.clone()) {
        return failed(&error.into());
    }
    let ran = run(settings, shutdown).await;
    telemetry.stop().await;
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

/// Starts an orderly shutdown on SIGTERM and SIGINT (on Windows Ctrl-Break and Ctrl-C). A second
/// signal ends the process at once. Even then no committed work is lost.
fn drain_on_signal(shutdown: CancellationToken) -> io::Result<()> {
    let mut signals = StopSignals::listen()?;
    tokio::spawn(async move {
        for again in [false, true] {
            signals.next().await;
            if again {
                std::process::exit(1);
            }
            info!("finishes what it has begun, then stops");
            shutdown.cancel();
        }
    });
    Ok(())
}

fn wrong(mistakes: &Mistakes) -> ExitCode {
    let _ = write!(io::stderr().lock(), "saga: {mistakes}");
    ExitCode::from(EX_USAGE)
}

fn failed(error: &anyhow::Error) -> ExitCode {
    error!("{error:#}");
    let _ = writeln!(io::stderr().lock(), "saga: {error:#}");
    ExitCode::FAILURE
}
