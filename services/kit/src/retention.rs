//! How far back a participant remembers: it follows the orchestrators' watermark.
//!
//! A watermark arrives on commands, is made durable, and only when every transaction
//! that may have begun before that has ended ([`Store::SETTLING`]) is anything below
//! it deleted. A transaction reads the watermark when it locks its rows. So an old
//! action meets its tombstone, or the watermark above it: one of them always.

use std::time::Duration;

use metrics::{counter, gauge};
use saga_core::{Failure, Watermark};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{Store, limits};

/// Follows what arrives, until shutdown. Any replica does, and none leads.
pub(crate) async fn follow<S: Store>(
    name: &'static str,
    store: S,
    furthest: watch::Sender<Watermark>,
    shutdown: CancellationToken,
) {
    counter!("saga_participant_pruned_total", "participant" => name).increment(0);
    let mut heard = furthest.subscribe();
    // A batch may have been handled before this began.
    if *heard.borrow() > Watermark::NONE {
        heard.mark_changed();
    }
    // No transaction runs in a future that can be cancelled: it is told between two.
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            changed = heard.changed() => if changed.is_err() { return },
        }
        let watermark = *heard.borrow_and_update();
        match store.raise(watermark).await {
            Ok(standing) if standing < watermark => {
                warn!(participant = name, %watermark, "a watermark ahead of the database's clock is not believed");
                // So that a sound one is heard again.
                furthest.send_if_modified(|known| {
                    *known = if *known == watermark { standing } else { *known };
                    false
                });
            }
            Ok(standing) => {
                gauge!("saga_participant_watermark_timestamp_seconds", "participant" => name)
                    .set(standing.instant().0 as f64 / 1e6);
                if let Err(failure) = forget(name, &store, standing, &shutdown).await {
                    warn!(participant = name, %failure, "pruning goes on later");
                }
            }
            Err(failure) => {
                // The same once more: nothing further may ever come.
                heard.mark_changed();
                warn!(participant = name, %failure, "pruning goes on later");
            }
        }
        if !pause(limits::PRUNE_INTERVAL, &shutdown).await {
            return;
        }
    }
}

/// Whether to go on after a pause.
async fn pause(pause: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(pause) => true,
    }
}

async fn forget<S: Store>(
    name: &'static str,
    store: &S,
    below: Watermark,
    shutdown: &CancellationToken,
) -> Result<(), Failure> {
    // Not below what another replica has raised since: that has not settled.
    if !pause(S::SETTLING, shutdown).await {
        return Ok(());
    }
    let mut from = Watermark::NONE.id();
    loop {
        let began = Instant::now();
        let pruned = store.prune(from, below, limits::PRUNE_BATCH).await?;
        counter!("saga_participant_pruned_total", "participant" => name).increment(pruned.rows);
        match pruned.next {
            Some(next) => from = next,
            None => return Ok(()),
        }
        // Commands come first: pruning takes a third of a connection.
        if !pause(began.elapsed() * 2, shutdown).await {
            return Ok(());
        }
    }
}

/// Remembers the furthest watermark that was heard of.
pub(crate) fn hear(to: &watch::Sender<Watermark>, watermark: Watermark) {
    to.send_if_modified(|known| {
        let further = watermark > *known;
        if further {
            *known = watermark;
        }
        further
    });
}
