//! Waiting for a saga, within bounds. The truth is the row; what the watch says
//! is when to read it.

use saga_core::{Instance, SagaId};
use saga_engine::{SagaReads, Watched};
use tokio::time::Instant;
use tonic::Status;

use crate::{front::Front, status};

impl<R: SagaReads> Front<R> {
    /// Waits for a saga's end and reads it once. `None`: it had not ended in time,
    /// or too many wait already.
    pub(crate) async fn until_ended(
        &self,
        id: SagaId,
        watched: &mut Watched,
        until: Instant,
    ) -> Result<Option<Instance>, Status> {
        let Ok(_place) = self.waiting.try_acquire() else { return Ok(None) };
        let ended = async {
            while !watched.seen().ended {
                watched.changed().await;
            }
        };
        tokio::select! {
            biased;
            () = ended => self.find(id).await,
            () = tokio::time::sleep_until(until) => Ok(None),
            () = self.shutdown.cancelled() => Ok(None),
        }
    }

    /// Waits until enough of a saga is known, reading it at every change. `None`:
    /// it was not in time.
    pub(crate) async fn until(
        &self,
        id: SagaId,
        watched: &mut Watched,
        until: Instant,
        enough: impl Fn(&Instance) -> bool,
    ) -> Result<Option<Instance>, Status> {
        let Ok(_place) = self.waiting.try_acquire() else { return Ok(None) };
        loop {
            let saga = self.find(id).await?;
            let saga = saga.ok_or_else(|| status::not_found("order", &id.to_string()))?;
            if enough(&saga) {
                return Ok(Some(saga));
            }
            tokio::select! {
                _ = watched.changed() => {}
                () = tokio::time::sleep_until(until) => return Ok(None),
                () = self.shutdown.cancelled() => return Ok(None),
            }
        }
    }
}
