//! The state that all calls share.

use std::sync::Arc;

use saga_core::{Hosted, Instance, SagaId};
use saga_engine::{Handle, NewSaga, Placed, SagaReads};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{Settings, settings::MAX_LOOK_UPS, status};

/// Access to an engine and to its sagas' committed rows, for the calls of operators and clients.
#[derive(Clone)]
pub struct Desk<R> {
    /// The engine to which requests are handed.
    pub handle: Handle,
    /// Reads the sagas' committed rows.
    pub reads: R,
    /// The definitions that the engine hosts. They provide the names of steps.
    pub hosted: Hosted,
    /// The limits.
    pub settings: Settings,
    /// Cancelled when the server is to stop. Calls that wait are then answered at once.
    pub shutdown: CancellationToken,
    /// Permits for the calls that wait or watch at the same time.
    pub(crate) waiting: Arc<Semaphore>,
    /// Permits for calls that look up a key while new sagas are refused.
    looking_up: Arc<Semaphore>,
}

impl<R: SagaReads> Desk<R> {
    /// Creates a desk in front of an engine.
    pub fn new(
        handle: Handle,
        reads: R,
        hosted: Hosted,
        settings: Settings,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            handle,
            reads,
            hosted,
            shutdown,
            waiting: Arc::new(Semaphore::new(settings.max_waiting)),
            looking_up: Arc::new(Semaphore::new(MAX_LOOK_UPS)),
            settings,
        }
    }

    /// Hands a new saga to the engine, unless `open` refuses new sagas. A known key is answered in
    /// either case (semantics 24): a caller whose saga was accepted, but who missed the answer,
    /// must get it now. `what` names the kind of saga in an error, for example `trip`.
    ///
    /// # Errors
    /// The refusal in `open`, or the engine's error as a status.
    pub async fn begin(
        &self,
        saga: NewSaga,
        open: Result<(), Status>,
        what: &'static str,
    ) -> Result<Placed, Status> {
        let Err(refusal) = open else {
            let placed = self.handle.requests.place(saga).await;
            return placed.map_err(|error| status::of_request(&error, what, "", ""));
        };
        let Ok(_place) = self.looking_up.try_acquire() else { return Err(refusal) };
        match self.handle.requests.known(saga.key).await {
            Ok(Some(known)) => Ok(known),
            Ok(None) | Err(_) => Err(refusal),
        }
    }

    /// Refuses new sagas while as many are in flight as can be served in time. `what` names their
    /// kind in the error: `trips`.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED.
    pub fn check_capacity(&self, what: &str) -> Result<(), Status> {
        if self.handle.in_flight() >= self.settings.max_in_flight {
            return Err(status::overloaded(&format!(
                "too many {what} are in progress: call again, with the same idempotency key",
            )));
        }
        Ok(())
    }

    /// Finds a saga.
    ///
    /// # Errors
    /// The store's failure as a status.
    pub async fn find(&self, id: SagaId) -> Result<Option<Instance>, Status> {
        let found = self.reads.find(&[id]).await.map_err(|failure| status::of_failure(&failure))?;
        Ok(found.into_iter().next())
    }

    /// Takes a permit to wait for sagas or watch them, for as long as the permit is held.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED.
    pub fn waiter(&self) -> Result<OwnedSemaphorePermit, Status> {
        let permit = Arc::clone(&self.waiting).try_acquire_owned();
        permit.map_err(|_| status::overloaded("too many wait or watch already: call again"))
    }
}
