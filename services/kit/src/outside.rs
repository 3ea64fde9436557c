//! Calls to the outside world: outside any transaction, side by side. Each settles by itself, so
//! that a slow one delays no other.

use std::sync::Arc;

use metrics::counter;
use saga_trace::within;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tracing::warn;

use crate::{
    CallError,
    erased::{AnyFinding, Outside},
    limits,
    member::Member,
};

/// A call that came back.
pub(crate) enum Found {
    /// The outside world answered.
    Finding {
        /// Index of the handler.
        handler: usize,
        /// The command.
        member: Member,
        /// For its handler's `settle`.
        finding: AnyFinding,
    },
    /// The outside world now holds nothing of an action that came too late.
    Retracted(Member),
    /// No answer: the saga will ask again.
    Nothing(Member),
    /// Nothing was sent: the saga will ask again.
    NotSent(Member),
}

/// The calls under way.
pub(crate) struct Calls {
    found: mpsc::UnboundedSender<Found>,
    places: Arc<Semaphore>,
    running: TaskTracker,
    /// Cancels the calls when it is dropped, for example with the participant's future.
    stop: DropGuard,
}

impl Calls {
    pub(crate) fn new(found: mpsc::UnboundedSender<Found>) -> Self {
        Self {
            found,
            places: Arc::new(Semaphore::new(limits::MAX_CALLS)),
            running: TaskTracker::new(),
            stop: CancellationToken::new().drop_guard(),
        }
    }

    /// Asks. The prefetch bounds the number of calls, and [`limits::MAX_CALLS`] the number of those
    /// that run at once.
    pub(crate) fn ask<Tx: 'static>(
        &self,
        handler: &Arc<dyn Outside<Tx>>,
        place: usize,
        member: Member,
        question: AnyFinding,
    ) {
        let handler = Arc::clone(handler);
        self.spawn(async move {
            match within(member.context(), handler.call(member.id(), question)).await {
                Ok(finding) => Found::Finding { handler: place, member, finding },
                Err(error) => {
                    nothing(&member, &error);
                    match error {
                        CallError::NotSent(_) => Found::NotSent(member),
                        CallError::Unknown(_) => Found::Nothing(member),
                    }
                }
            }
        });
    }

    /// Makes sure that the outside world holds nothing of an action.
    pub(crate) fn retract<Tx: 'static>(&self, handler: &Arc<dyn Outside<Tx>>, member: Member) {
        let handler = Arc::clone(handler);
        self.spawn(async move {
            match within(member.context(), handler.retract(member.id())).await {
                Ok(()) => Found::Retracted(member),
                Err(error) => {
                    nothing(&member, &error);
                    Found::Nothing(member)
                }
            }
        });
    }

    fn spawn(&self, call: impl Future<Output = Found> + Send + 'static) {
        let (places, found, stop) =
            (Arc::clone(&self.places), self.found.clone(), self.stop.token().clone());
        self.running.spawn(async move {
            let asking = async {
                let _place = places.acquire().await.expect("never closed");
                call.await
            };
            // A command whose call is cancelled is not acknowledged. It comes again, and its
            // recorded intent leads to a look-up.
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                came = asking => { let _ = found.send(came); }
            }
        });
    }

    /// Cancels the calls that are under way.
    pub(crate) fn stop(&self) {
        self.stop.token().cancel();
        self.running.close();
    }
}

fn nothing(member: &Member, error: &CallError) {
    counter!("saga_participant_calls_failed_total").increment(1);
    let trace_id = member.trace_id();
    warn!(saga = %member.id().saga, command = %member.id(), trace_id, %error, "no answer from outside: the saga will ask again");
}
