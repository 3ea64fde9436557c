//! `saga audit`: what must be true of a system's books, computed from outside.
//!
//! A few columns of each database are copied, in one snapshot, into a scratch database, which
//! `saga_audit` judges.
//!
//! Read first: [`run`], and one of the equations of `saga_audit`.

mod collect;
mod command;

use std::{path::PathBuf, time::Duration};

use tokio::time::{Instant, sleep};

pub(crate) use collect::Unreadable;
pub(crate) use command::{Command, run as command};
pub(crate) use saga_audit::{Options, Report, Verdict};

use crate::secrets::Secret;
use collect::Pulse;

/// How often a system that is not at rest is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The places of the books.
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

/// Reads the books and judges them. Waits at most `wait` for the system to come to rest.
///
/// The databases are not all read at one instant. An equation that compares them is therefore
/// judged only at rest: when no saga was in progress before the first database was read, and none
/// had moved after the last one.
///
/// # Errors
/// [`Unreadable`]: there is no verdict.
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
