//! `saga audit`: checks from outside that a system's databases agree with each other.
//!
//! It copies a few columns of each database, in one snapshot, into a scratch database.
//! `saga_audit` evaluates its equations there.
//!
//! Read first: [`run`], and one of the equations of `saga_audit`.

mod collect;
mod command;

use std::{path::PathBuf, time::Duration};

use tokio::time::{Instant, sleep};

pub(crate) use collect::{Unreadable, collect_particulars};
pub(crate) use command::{Command, run as command};
pub(crate) use saga_audit::{Options, Report, Verdict};

use crate::secrets::Secret;
use collect::Pulse;

/// Interval at which a system that is not at rest is checked again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Location of the databases that the audit reads.
#[derive(Clone, Debug)]
pub(crate) enum Sources {
    /// An embedded system's directory: one file a role, and the provider's in a subdirectory.
    DataDir(PathBuf),
    /// A system on servers.
    Servers(Servers),
}

/// URLs of the four databases, for a role that may read them, and the provider's directory.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    pub(crate) orchestrator: Secret,
    pub(crate) order: Secret,
    pub(crate) inventory: Secret,
    pub(crate) payment: Secret,
    pub(crate) provider_data_dir: PathBuf,
}

/// Reads the databases and judges them. Waits at most `wait` for the system to come to rest.
///
/// The databases are not all read at the same instant. An equation that compares two of them is
/// therefore judged only at rest: no saga was in progress before the first database was read, and
/// no saga had moved after the last one was read.
///
/// # Errors
/// [`Unreadable`]: a database could not be read, so there is no verdict.
pub(crate) async fn run(
    sources: &Sources,
    wait: Duration,
    options: &Options,
) -> Result<Report, Unreadable> {
    let deadline = Instant::now() + wait;
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
        let judged =
            tokio::task::spawn_blocking(move || saga_audit::judge(&books, moved, &options));
        return judged.await.expect("judging does not panic").map_err(Unreadable::scratch);
    }
}
