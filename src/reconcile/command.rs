//! The command line of `saga reconcile`.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use crate::config;

/// Exit code if something is left to a person, or sagas are still in progress.
const NAMED: u8 = 1;
/// Exit code if a database or the broker could not be used.
const UNREADABLE: u8 = 2;
/// Exit code if the settings are wrong (`EX_USAGE`).
const USAGE: u8 = 64;

const EXPLANATION: &str = "\
Run it after a database was restored, or after a failover that may have lost commits. First stop the
orchestrators, and start the services (they answer what is asked again). Run this, start the
orchestrators, and run it again until it says that all is reconciled.

It compares the orchestrator's database with those of the services, and
  tells sagas in progress what their participants have on record, as if they had answered
  begins sagas again that the orchestrator has forgotten, under their ids, from the services' records:
    they go on if money may have been taken, and are undone by their compensations otherwise
  sends commands again, under their ids, whose answers the orchestrator has and their participants have
    forgotten: each service does again what it had done, by its own rules
  names what is left, with what may be done about it, and then audits the books

It writes no row of a service, and an ended saga stays as it is. Beside a running system it does no harm:
a saga in progress may hear an answer from it before the reply comes.
Beyond the retention, and of what no database has kept anything, it knows nothing.

Examples:
  saga reconcile --dry-run          what it would do, and what it would leave
  saga reconcile --json | jq .named

Settings: those of `saga audit`, but SAGA_ORCHESTRATOR_DATABASE_URL must be the orchestrator's own, and
SAGA_AMQP_URL and SAGA_PREFIX too; SAGA_BEGIN_… say under which version forgotten sagas are begun
again. An embedded system is one directory: restore all of it.
Exit code: 0 all agree, 1 something is named, or sagas are in progress, 2 a database or the broker
cannot be used, 64 wrong usage.";

/// Brings the databases together after one of them went back, and names what it cannot mend.
#[derive(clap::Args)]
#[command(after_help = EXPLANATION)]
pub(crate) struct Command {
    /// Only look: change nothing, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command and prints its result to the process's own stdout and stderr.
pub(crate) async fn run(command: Command) -> ExitCode {
    let settings = match config::read(&config::process, |env| env.reconcile()) {
        Ok(settings) => settings,
        Err(mistakes) => {
            let _ = write!(io::stderr().lock(), "saga: {mistakes}");
            return ExitCode::from(USAGE);
        }
    };
    match super::run(&settings, command.dry_run).await {
        Ok(report) => {
            let text = if command.json { format!("{}\n", report.json()) } else { report.text() };
            // A failed write means that the reader has closed the pipe and wants no more.
            let _ = io::stdout().lock().write_all(text.as_bytes());
            if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(NAMED) }
        }
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "saga: {error:#}");
            ExitCode::from(UNREADABLE)
        }
    }
}
