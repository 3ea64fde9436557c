//! `saga`: one binary. It runs a role, or all of them, or talks to them.

mod client;
mod config;
mod roles;
mod setup;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use config::{Environment, Mistakes};
use saga_telemetry::Settings;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// Exit status for wrong settings, as in sysexits.h.
const EX_USAGE: u8 = client::USAGE;

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
    /// Make databases, roles, schemas, exchanges and queues; run it again whenever you like
    Setup,
    /// Run the orchestrator: the engine, and gRPC for clients and operators
    Orchestrator,
    /// Run the inventory service
    Inventory,
    /// Run the payment service
    Payment,
    /// Run the test payment provider, an HTTP service with its own ledger
    Provider,
    /// Run `setup`, then every role in this one process
    All,
    /// List every setting, with its default
    Settings,
    #[command(flatten)]
    Client(client::Command),
}

fn main() -> ExitCode {
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
            runtime.block_on(role("order", |env| env.order(), roles::order))
        }
        Command::Client(command) => runtime.block_on(client::run(command)),
        Command::Settings => {
            let _ = io::stdout().lock().write_all(config::HELP.as_bytes());
            ExitCode::SUCCESS
        }
        Command::Setup => runtime
            .block_on(role("setup", |env| env.setup(), async |settings, _| setup::setup(&settings).await)),
        Command::Orchestrator => {
            runtime.block_on(role("orchestrator", |env| env.orchestrator(), roles::orchestrator))
        }
        Command::Inventory => runtime.block_on(role("inventory", |env| env.inventory(), roles::inventory)),
        Command::Payment => runtime.block_on(role("payment", |env| env.payment(), roles::payment)),
        Command::Provider => runtime.block_on(role("provider", |env| env.provider(), roles::provider)),
        Command::All => runtime.block_on(role("all", |env| env.all(), roles::all)),
    };
    runtime.shutdown_background();
    status
}

/// One role, from its settings to its end.
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

/// SIGTERM and SIGINT drain; a second one ends at once, which loses nothing either.
fn drain_on_signal(shutdown: CancellationToken) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        for again in [false, true] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
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
