//! The history of an order as a stream, from its beginning.

use saga_core::{HistoryEntry, Instance, SagaId};
use saga_engine::{SagaReads, Watched};
use saga_proto::shop::v1::{OrderUpdate, WatchOrderRequest};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};
use tracing::error;

use crate::{
    Caller, describe,
    front::{Front, find},
    settings::UPDATES_AHEAD,
    standing::Standing,
    status, validate,
};

/// The stream of an order's updates.
pub(crate) type Updates = ReceiverStream<Result<OrderUpdate, Status>>;

impl<R: SagaReads> Front<R> {
    pub(crate) async fn watch(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Updates, Status> {
        let caller = Caller::of(&request)?;
        let order_id = &request.get_ref().order_id;
        let id = validate::id("order_id", order_id)?;
        let saga = self.find_order(id, &caller).await?;
        let saga = saga.ok_or_else(|| status::not_found("order", order_id))?;
        let place = self.waiting.clone().try_acquire_owned();
        let place = place.map_err(|_| status::overloaded("too many watch already: call again"))?;
        let (updates, stream) = mpsc::channel(UPDATES_AHEAD);
        let watcher = Watcher {
            id,
            traceparent: saga.traceparent,
            reads: self.reads.clone(),
            watched: self.handle.watches.watch(id),
            updates,
            shutdown: self.shutdown.clone(),
            _place: place,
        };
        tokio::spawn(watcher.run());
        Ok(ReceiverStream::new(stream))
    }
}

/// Follows one saga for one client, until either ends.
struct Watcher<R> {
    id: SagaId,
    traceparent: Option<String>,
    reads: R,
    watched: Watched,
    updates: mpsc::Sender<Result<OrderUpdate, Status>>,
    shutdown: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl<R: SagaReads> Watcher<R> {
    async fn run(mut self) {
        let gone = self.updates.clone();
        let shutdown = self.shutdown.clone();
        let last = tokio::select! {
            () = gone.closed() => return,
            () = shutdown.cancelled() => Some(status::stopping()),
            ended = self.follow() => ended.err(),
        };
        if let Some(status) = last {
            // This does not wait for a client that no longer reads.
            let _ = gone.try_send(Err(status));
        }
    }

    /// Sends every transition in order. A read after watching has begun is complete up to then, and
    /// later transitions are announced, or found by a read within a second.
    async fn follow(&mut self) -> Result<(), Status> {
        let mut version = 0;
        loop {
            let history = self.reads.history(self.id, version).await;
            for entry in history.map_err(|failure| status::of_failure(&failure))? {
                version += 1;
                if entry.version != version {
                    let trace_id = saga_trace::trace_id(self.traceparent.as_deref());
                    error!(saga = %self.id, trace_id, version, "a transition is missing in a history");
                    return Err(status::internal(
                        "the order's history has a gap: tell an operator",
                    ));
                }
                let (update, ended) = self.update(&entry).await?;
                if self.updates.send(Ok(update)).await.is_err() || ended {
                    return Ok(());
                }
            }
            self.watched.changed().await;
        }
    }

    async fn update(&self, entry: &HistoryEntry) -> Result<(OrderUpdate, bool), Status> {
        let ended =
            matches!(entry.state, saga_core::State::Completed | saga_core::State::Compensated);
        let standing = if ended {
            // Only the row has the reason. It does not change any more.
            let saga: Option<Instance> = find(&self.reads, self.id).await?;
            let saga = saga.ok_or_else(|| status::not_found("order", &self.id.to_string()))?;
            Standing::of(&saga)
        } else {
            Standing::pending()
        };
        let update = OrderUpdate {
            order_id: self.id.to_string(),
            version: i64::try_from(entry.version).unwrap_or(i64::MAX),
            at_micros: entry.at.0,
            status: standing.status.into(),
            what: describe::for_client(&entry.happening),
            step: describe::step(&entry.happening).to_owned(),
            reason_code: standing.reason_code,
            ended,
        };
        Ok((update, ended))
    }
}
