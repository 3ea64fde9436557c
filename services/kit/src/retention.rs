//! Retention: a participant stores the orchestrators' watermark, and deletes its records below it.
//!
//! A watermark arrives with commands and is stored durably. Records below it are deleted only after
//! every transaction has ended that may have begun before that ([`Store::SETTLING`]). Every
//! transaction reads the watermark when it locks its rows. So an old action always finds either its
//! tombstone, or a watermark that its saga is below.

use std::time::Duration;

use metrics::{counter, gauge};
use saga_core::{Failure, Watermark};
use saga_messaging::answered;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{Store, limits};

/// Stores the watermarks that arrive, and prunes below them, until shutdown. Every replica does so.
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
    // A batch may have received a watermark before this loop began.
    if *received.borrow() > Watermark::NONE {
        received.mark_changed();
    }
    // No transaction runs in a future that can be cancelled: shutdown is checked between
    // transactions.
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
                // Forgets the refused watermark, so that a lower, sound one is received.
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
                // Tries the same watermark again, because no further one may ever arrive.
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
    // Only `below` has settled after this pause. Another replica may store a higher watermark
    // meanwhile.
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
        // Commands have priority, so pruning uses only a third of a connection's time.
        if !pause(began.elapsed() * 2, shutdown).await {
            return Ok(());
        }
    }
}

/// Remembers the watermark if it is the highest one so far.
pub(crate) fn receive(to: &watch::Sender<Watermark>, watermark: Watermark) {
    to.send_if_modified(|known| {
        let further = watermark > *known;
        if further {
            *known = watermark;
        }
        further
    });
}
