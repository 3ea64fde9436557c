//! Streams the history of an order, from its beginning.

use saga_core::{Direction, Happening, HistoryEntry, SagaId};
use saga_desk::{Caller, Desk, UPDATES_AHEAD, describe, status, validate::id as saga_id};
use saga_engine::{SagaReads, Watched};
use saga_proto::shop::v1::{OrderUpdate, WatchOrderRequest};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status};
use tracing::error;

use crate::{front::Front, standing::Standing};

/// The stream of an order's updates.
pub(crate) type Updates = ReceiverStream<Result<OrderUpdate, Status>>;

impl<R: SagaReads> Front<R> {
    pub(crate) async fn watch(
        &self,
        request: Request<WatchOrderRequest>,
    ) -> Result<Updates, Status> {
        let caller = Caller::of(&request)?;
        let order_id = &request.get_ref().order_id;
        let id = saga_id("order_id", order_id)?;
        let saga = self.find_order(id, &caller).await?;
        let saga = saga.ok_or_else(|| status::not_found("order", order_id))?;
        let place = self.desk.waiter()?;
        let (updates, stream) = mpsc::channel(UPDATES_AHEAD);
        let watcher = Watcher {
            id,
            traceparent: saga.traceparent,
            watched: self.desk.handle.watches.watch(id),
            desk: self.desk.clone(),
            updates,
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
    desk: Desk<R>,
    watched: Watched,
    updates: mpsc::Sender<Result<OrderUpdate, Status>>,
    _place: OwnedSemaphorePermit,
}

impl<R: SagaReads> Watcher<R> {
    async fn run(mut self) {
        let gone = self.updates.clone();
        let shutdown = self.desk.shutdown.clone();
        let last = tokio::select! {
            () = gone.closed() => return,
            () = shutdown.cancelled() => Some(status::stopping()),
            ended = self.follow() => ended.err(),
        };
        if let Some(status) = last {
            // `try_send` does not wait, in case the client no longer reads.
            let _ = gone.try_send(Err(status));
        }
    }

    /// Sends every transition in order. Because watching began before the first read, later
    /// transitions are announced; if an announcement is lost, a read finds them within a second.
    async fn follow(&mut self) -> Result<(), Status> {
        let mut version = 0;
        loop {
            let history = self.desk.reads.history(self.id, version).await;
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
            // Only the saga's row has the reason. An ended saga's row does not change any more.
            let saga = self.desk.find(self.id).await?;
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
            what: for_client(&entry.happening),
            step: describe::step(&entry.happening).to_owned(),
            reason_code: standing.reason_code,
            ended,
        };
        Ok((update, ended))
    }
}

/// Describes a happening to the client whose order it is about. Does not name the operator.
fn for_client(happening: &Happening) -> String {
    match happening {
        Happening::Started => "the order was accepted".to_owned(),
        Happening::Paused(_) => "the order is held".to_owned(),
        Happening::Resumed(_) => "the order goes on".to_owned(),
        Happening::Reminded => "the order still needs a person's attention".to_owned(),
        Happening::Cancel(wish) => format!("a cancel was asked for: {}", wish.reason),
        Happening::Retried(_) => "what is open was asked for again".to_owned(),
        Happening::Skipped { step, .. } => format!("{step} was passed over"),
        Happening::Resolved { step, direction, done: true, .. } => match direction {
            Direction::Action => format!("{step} is known to be done"),
            Direction::Compensation => format!("{step} is known to be undone"),
        },
        Happening::Resolved { step, done: false, .. } => {
            format!("{step} is known not to have happened")
        }
        Happening::Compensate(_) => "the shop takes the order back".to_owned(),
        Happening::Done { .. }
        | Happening::Refused { .. }
        | Happening::Resent
        | Happening::GaveUp { .. } => describe::happening(happening),
        Happening::DeadlinePassed => "the deadline passed before the payment".to_owned(),
    }
}
