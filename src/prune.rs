//! `saga prune`: deletes at once, and with progress, what orchestrators delete in the background.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use chrono::{DateTime, NaiveDate, NaiveTime};
use saga_core::{Timestamp, Watermark};
use saga_engine::{Horizon, Pruned, Range, Retention};
use saga_postgres::PoolSettings;
use saga_sqlite::{Clock, DataDir, Database};
use saga_store::{postgres, sqlite};

use saga_cli::USAGE;

use crate::config;

/// Interval at which progress is reported.
const TELL_EVERY: Duration = Duration::from_secs(2);

const EXPLANATION: &str = "\
The watermark is as old as the oldest saga that has not ended, or as now, less SAGA_RETENTION_DAYS.
Below it ended sagas go, with their histories and idempotency keys, in small batches with pauses,
beside whatever runs. Any orchestrator does the same every minute; this is for catching up, and for
looking (--dry-run). It may be stopped at any moment.

What services remember of old commands, each prunes by itself once it has heard of the watermark.
Orders, payments and stock movements are books, and stay.

Examples:
  saga prune --dry-run                          how much there is to delete
  saga prune --before 2026-10-01 --batch 2000   only what was begun before that day
  saga prune --data-dir ./saga-data             an embedded system, while it does not run

Exit code: 0 done, 1 the database failed, 64 wrong usage.";

/// Deletes ended sagas, their histories and keys that are older than the retention.
#[derive(clap::Args)]
#[command(after_help = EXPLANATION)]
pub(crate) struct Command {
    /// The directory of an embedded system; without it, SAGA_ORCHESTRATOR_DATABASE_URL
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Only sagas begun before this day, or instant, in UTC: 2026-10-01 or 2026-10-01T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = instant)]
    before: Option<Timestamp>,
    /// Count, and delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Sagas of one transaction
    #[arg(long, default_value_t = 500, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
}

/// Runs the command and prints to the process's own output.
pub(crate) async fn run(command: Command) -> ExitCode {
    let embedded = command.data_dir.is_some();
    let settings = match config::read(&config::process, |env| env.prune(embedded)) {
        Ok(settings) => settings,
        Err(mistakes) => {
            let _ = write!(io::stderr().lock(), "saga: {mistakes}");
            return ExitCode::from(USAGE);
        }
    };
    let done = match &command.data_dir {
        Some(dir) => in_directory(dir, &command, settings.retention).await,
        None => on_server(&command, &settings).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr().lock(), "saga: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn in_directory(
    path: &std::path::Path,
    command: &Command,
    retention: Duration,
) -> anyhow::Result<()> {
    anyhow::ensure!(path.is_dir(), "there is no directory {}", path.display());
    // Fails while a running system holds the directory: two writers would wait for each other.
    let dir = DataDir::take(path)?;
    let database = Database::open(&dir.database("orchestrator"), &sqlite::SCHEMA, Clock::system())?;
    prune(&sqlite::SagaTable::new(database), command, retention).await
}

async fn on_server(command: &Command, settings: &config::Prune) -> anyhow::Result<()> {
    let pool = PoolSettings { application: "saga prune".to_owned(), max_connections: 1 };
    let pool = saga_postgres::connect(&settings.database.0, &pool).await?;
    saga_postgres::check(&pool, &[&postgres::MIGRATIONS]).await?;
    prune(&postgres::SagaTable::new(pool), command, settings.retention).await
}

async fn prune(
    store: &impl Retention,
    command: &Command,
    retention: Duration,
) -> anyhow::Result<()> {
    let Horizon { watermark, now, oldest } =
        store.advance(u64::try_from(retention.as_millis()).unwrap_or(u64::MAX)).await?;
    say(&format!("the watermark is at {}", shown(watermark.instant())));
    if let Some(oldest) = oldest
        && now.0 - oldest.made_at().0 > 86_400_000_000
    {
        say(&format!(
            "saga {oldest}, of {}, has not ended and holds it back",
            shown(oldest.made_at())
        ));
    }
    let below = command.before.map_or(watermark, |before| watermark.min(Watermark::at(before)));
    let limit = usize::try_from(command.batch).unwrap_or(usize::MAX);
    let mut range = Range { limit, dry: command.dry_run, ..Range::below(below) };
    let (mut all, mut told) = (Pruned::default(), Instant::now());
    loop {
        let began = Instant::now();
        let pruned = store.prune(&range).await?;
        all.sagas += pruned.sagas;
        all.history += pruned.history;
        all.keys += pruned.keys;
        all.quarantined += pruned.quarantined;
        let Some(next) = pruned.next else { break };
        range.from = next;
        if told.elapsed() > TELL_EVERY && io::stderr().is_terminal() {
            told = Instant::now();
            say(&format!("{}, up to {}", counted(&all), shown(next.made_at())));
        }
        tokio::time::sleep(began.elapsed()).await;
    }
    let what = if command.dry_run { "would delete" } else { "deleted" };
    writeln!(io::stdout().lock(), "{what} {}", counted(&all))?;
    Ok(())
}

fn counted(pruned: &Pruned) -> String {
    let Pruned { sagas, history, keys, quarantined, next: _ } = pruned;
    format!(
        "{sagas} sagas, {history} rows of history, {keys} keys, {quarantined} messages of the quarantine"
    )
}

fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

fn shown(at: Timestamp) -> String {
    DateTime::from_timestamp_micros(at.0)
        .map_or_else(|| "the end of time".to_owned(), |at| at.format("%F %T UTC").to_string())
}

fn instant(text: &str) -> Result<Timestamp, String> {
    let day = || {
        let day = text.parse::<NaiveDate>().ok()?;
        Some(day.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
    };
    let instant = || DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_micros());
    let micros = day().or_else(instant);
    micros.map(Timestamp).ok_or_else(|| "is no day like 2026-10-01 and no instant".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_and_an_instant_are_times_and_nothing_else_is() {
        let first = Timestamp(1_790_812_800_000_000);
        assert_eq!(instant("2026-10-01"), Ok(first));
        assert_eq!(instant("2026-10-01T00:00:00Z"), Ok(first));
        assert_eq!(instant("2026-10-01T02:00:00+02:00"), Ok(first));
        for wrong in ["", "yesterday", "7", "2026-13-01", "2026-10-01T25:00:00Z"] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
        assert_eq!(shown(first), "2026-10-01 00:00:00 UTC");
    }
}
