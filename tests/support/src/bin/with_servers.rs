//! `with-servers COMMAND ARGUMENT…` starts one PostgreSQL and one RabbitMQ, runs the command with
//! both, and ends with the command's exit code. A server that the environment names is used instead
//! of a new one.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, exit};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use saga_test_support::{AMQP_URL_VARIABLE, POSTGRES_URL_VARIABLE, Servers};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Time limit for the command to end after a signal. (nextest gives its tests 10 s.)
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// A usage error, as in sysexits.h.
const EXIT_USAGE: i32 = 64;
/// The exit code when the command or the servers could not be started.
const EXIT_CANNOT_RUN: i32 = 125;

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        say("usage: with-servers COMMAND ARGUMENT…");
        exit(EXIT_USAGE);
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let outcome = runtime.context("cannot start the runtime").and_then(|runtime| {
        let outcome = runtime.block_on(run(program, arguments.collect()));
        // This does not wait for servers that are still starting when a signal arrives.
        runtime.shutdown_background();
        outcome
    });
    // The servers are in a static, so they are never dropped. The reaper process stops them once
    // this process has ended.
    match outcome {
        Ok(code) => exit(code),
        Err(error) => {
            say(&format!("with-servers: {error:#}"));
            exit(EXIT_CANNOT_RUN);
        }
    }
}

async fn run(program: OsString, arguments: Vec<OsString>) -> anyhow::Result<i32> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let starting = tokio::task::spawn_blocking(|| {
        let servers = Servers::shared();
        anyhow::Ok((servers.try_postgres_url()?, servers.try_amqp_url()?))
    });
    let (postgres, amqp) = tokio::select! {
        started = starting => started.context("starting the servers panicked")??,
        _ = terminate.recv() => return Ok(128 + Signal::TERM.as_raw()),
        _ = interrupt.recv() => return Ok(128 + Signal::INT.as_raw()),
    };

    let mut child = Command::new(&program)
        .args(arguments)
        .env(POSTGRES_URL_VARIABLE, postgres)
        .env(AMQP_URL_VARIABLE, amqp)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))?;
    let status = tokio::select! {
        status = child.wait() => status?,
        _ = terminate.recv() => end(&mut child, Some(Signal::TERM)).await?,
        // A terminal sends the interrupt to the command as well. With a second interrupt, nextest
        // would abandon its tests.
        _ = interrupt.recv() => end(&mut child, None).await?,
    };
    Ok(exit_code(status))
}

/// Waits for the end of the command. Sends it another signal at each time limit, and SIGKILL at
/// last.
async fn end(child: &mut Child, first: Option<Signal>) -> anyhow::Result<ExitStatus> {
    for signal in [first, Some(Signal::TERM), Some(Signal::KILL)] {
        if let Some(signal) = signal {
            tell(child, signal)?;
        }
        if let Ok(status) = tokio::time::timeout(ENDS_WITHIN, child.wait()).await {
            return Ok(status?);
        }
    }
    bail!("the command outlives SIGKILL")
}

fn tell(child: &Child, signal: Signal) -> anyhow::Result<()> {
    // A child without a process id has already ended.
    let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw)
    else {
        return Ok(());
    };
    kill_process(pid, signal).with_context(|| format!("cannot send {signal:?} to the command"))
}

/// Returns the exit code that a shell would report.
fn exit_code(status: ExitStatus) -> i32 {
    match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => EXIT_CANNOT_RUN,
    }
}

fn say(line: &str) {
    // If standard error is closed, the line is lost.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
