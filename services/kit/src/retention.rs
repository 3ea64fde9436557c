//! Retention: a participant follows the orchestrators' watermark.
//!
//! A watermark arrives on commands and is made durable. Records below it are deleted only when
//! every transaction that may have begun before that has ended ([`Store::SETTLING`]). A
//! transaction reads the watermark when it locks its rows. So an old action always finds either
//! its tombstone or the watermark above it.

use std::time::Duration;

use metrics::{counter, gauge};
use saga_core::{Failure, Watermark};
use saga_messaging::answered;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{Store, limits};

/// Follows the watermarks that arrive, until shutdown. Every replica does so; none leads.
pub(crate) async fn follow<S: Store>(
    name: &'static str,
    store: S,
    furthest: watch::Sender<Watermark>,
    least_retention: Duration,
    shutdown: CancellationToken,
) {
    let age = least_retention.saturating_sub(limits::CLOCKS_DIFFER);
    counter!("saga_participant_pruned_total", "participant" => name).increment(0);
    counter!("saga_participant_watermarks_refused_total", "participant" => name).increment(0);
    let mut received = furthest.subscribe();
    // A batch may have been handled before this began.
    if *received.borrow() > Watermark::NONE {
        received.mark_changed();
    }
    // No transaction runs in a future that can be cancelled: shutdown is seen between two.
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            changed = received.changed() => if changed.is_err() { return },
        }
        let watermark = *received.borrow_and_update();
        match answered(store.raise(watermark, age)).await {
            Ok(durable) if durable < watermark => {
                counter!("saga_participant_watermarks_refused_total", "participant" => name)
                    .increment(1);
                warn!(participant = name, %watermark, "a watermark that is too young is not believed");
                // Lowers the bound, so that a sound watermark is taken again.
                furthest.send_if_modified(|known| {
                    *known = if *known == watermark { durable } else { *known };
                    false
                });
            }
            Ok(durable) => {
                gauge!("saga_participant_watermark_timestamp_seconds", "participant" => name)
                    .set(durable.instant().0 as f64 / 1e6);
                if let Err(failure) = forget(name, &store, durable, &shutdown).await {
                    warn!(participant = name, %failure, "pruning goes on later");
                }
            }
            Err(failure) => {
                // Tries the same once more, because no further watermark may ever arrive.
                received.mark_changed();
                warn!(participant = name, %failure, "pruning goes on later");
            }
        }
        if !pause(limits::PRUNE_INTERVAL, &shutdown).await {
            return;
        }
    }
}

/// Pauses. Returns false if the participant is being stopped.
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
    // A higher watermark that another replica stores meanwhile is not old enough yet.
    if !pause(S::SETTLING, shutdown).await {
        return Ok(());
    }
    let mut from = Watermark::NONE.id();
    loop {
        let began = Instant::now();
        let pruned = answered(store.prune(from, below, limits::PRUNE_BATCH)).await?;
        counter!("saga_participant_pruned_total", "participant" => name).increment(pruned.rows);
        match pruned.next {
            Some(next) => from = next,
            None => return Ok(()),
        }
        // Commands come first: pruning takes only a third of a connection's time.
        if !pause(began.elapsed() * 2, shutdown).await {
            return Ok(());
        }
    }
}

/// Remembers the highest watermark.
pub(crate) fn receive(to: &watch::Sender<Watermark>, watermark: Watermark) {
    to.send_if_modified(|known| {
        let further = watermark > *known;
        if further {
            *known = watermark;
        }
        further
    });
}
