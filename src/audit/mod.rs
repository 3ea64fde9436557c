//! `saga audit`: what must be true of a system's books, computed from outside.
//!
//! It reads rows, of the databases and of the payment provider's ledger, and compares them with SQL of its own. None of
//! the code that wrote them is asked: no engine, no kit, no rule, no table module. Totals come from ledger rows, never
//! only from counters that the same statement wrote.
//!
//! Each database is copied, a few columns of it, in one snapshot, into one scratch database (`collect`, `scratch.sql`);
//! each equation is a file in `equations/`, to be read as a textbook is: what must hold, how many rows say so, and who
//! offends.
//!
//! Read first: one of the files in `equations/`, then [`run`].

mod collect;
mod command;
mod equations;
mod report;
mod scratch;

use std::{path::PathBuf, time::Duration};

use tokio::time::{Instant, sleep};

pub(crate) use collect::Unreadable;
pub(crate) use command::{Command, run as command};
pub(crate) use report::{Report, Verdict};

use crate::config::Secret;
use collect::Pulse;

/// How often a system that is not at rest is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Where the books are.
#[derive(Clone, Debug)]
pub(crate) enum Sources {
    /// An embedded system's directory: a file a role, and the provider's below it.
    DataDir(PathBuf),
    /// A system on servers.
    Servers(Servers),
}

/// The four databases, as a role that may read them, and the directory of the provider's ledger.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    pub(crate) orchestrator: Secret,
    pub(crate) order: Secret,
    pub(crate) inventory: Secret,
    pub(crate) payment: Secret,
    pub(crate) provider_data_dir: PathBuf,
}

/// What to judge, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Only what holds at every instant, whatever is in progress.
    pub(crate) safety: bool,
    /// How long to wait for the system to come to rest.
    pub(crate) wait: Duration,
    /// An equation that found no row to check fails, unless it says that there need be none.
    pub(crate) require_rows: bool,
    /// How many orders there must be.
    pub(crate) expect_orders: Option<u64>,
    /// How many messages must be in the quarantine.
    pub(crate) quarantined: u64,
}

/// Reads the books and judges them.
///
/// Databases are not read at one instant together, so what compares them is judged at rest only: when no saga was in
/// progress before the first was read, and none had moved after the last.
///
/// # Errors
/// [`Unreadable`]: there is no verdict.
pub(crate) async fn run(sources: &Sources, options: &Options) -> Result<Report, Unreadable> {
    let deadline = Instant::now() + options.wait;
    loop {
        let may_wait = !options.safety && Instant::now() < deadline;
        let before = Pulse::of(sources).await?;
        if before.in_progress > 0 && may_wait {
            sleep(LOOK_AGAIN).await;
            continue;
        }
        let books = collect::collect(sources).await?;
        let moved = Pulse::of(sources).await? != before;
        if moved && may_wait {
            continue;
        }
        let options = options.clone();
        let judged = tokio::task::spawn_blocking(move || report::judge(&books, moved, &options));
        return judged.await.expect("judging does not panic").map_err(Unreadable::scratch);
    }
}
