//! Waits for sagas, within limits. A watch notifies the waiting call when to read the saga's row.
//! Once the saga has ended, the watch contains the row.

use std::sync::Arc;

use saga_core::{Instance, SagaId};
use saga_engine::{SagaReads, Watched};
use tokio::time::Instant;
use tonic::Status;

use crate::{Desk, status};

impl<R: SagaReads> Desk<R> {
    /// Waits for a saga's end. Returns `None` if the saga has not ended by `until`, or if too many
    /// callers wait already.
    pub async fn until_ended(
        &self,
        watched: &mut Watched,
        until: Instant,
    ) -> Option<Arc<Instance>> {
        let Ok(_place) = self.waiting.try_acquire() else { return None };
        let ended = async {
            let mut seen = watched.seen();
            loop {
                match seen.end {
                    Some(saga) => return saga,
                    None => seen = watched.changed().await,
                }
            }
        };
        tokio::select! {
            biased;
            saga = ended => Some(saga),
            () = tokio::time::sleep_until(until) => None,
            () = self.shutdown.cancelled() => None,
        }
    }

    /// Waits until `enough` holds for the saga, which is read again at every change. Returns `None`
    /// if that takes too long or if too many callers wait already. `what` names the saga in an
    /// error.
    ///
    /// # Errors
    /// The store's failure, or NOT_FOUND.
    pub async fn until(
        &self,
        id: SagaId,
        watched: &mut Watched,
        until: Instant,
        enough: impl Fn(&Instance) -> bool,
        what: &str,
    ) -> Result<Option<Instance>, Status> {
        let Ok(_place) = self.waiting.try_acquire() else { return Ok(None) };
        loop {
            let saga = self.find(id).await?;
            let saga = saga.ok_or_else(|| status::not_found(what, &id.to_string()))?;
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
