//! The requests of clients and operators: new sagas, and inputs to existing ones.

use saga_core::{Admitted, Input, Instance, Saga, SagaId, Verdict};
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use crate::{Admission, HandleRequest, IdempotencyKey, Outcome, RequestError, limits};

/// The engine's queues of requests. A request is carried out even if its caller goes away after
/// handing it in.
#[derive(Clone)]
pub struct Requests {
    /// Requests for new sagas.
    new: mpsc::Sender<Request>,
    /// Requests about existing sagas, which may have to wait for locked rows. New sagas do not wait
    /// behind them.
    existing: mpsc::Sender<Request>,
}

/// The engine's ends of the queues, in the order of [`Requests`].
pub(crate) type Received = [mpsc::Receiver<Request>; 2];

/// A request for a new saga. The saga begins under the version that [`saga_core::Hosted::begins`]
/// returns.
#[derive(Clone, Debug)]
pub struct NewSaga {
    /// The client's key, bound to the new saga's id.
    pub key: IdempotencyKey,
    /// Name of the saga's definition.
    pub definition: String,
    /// The saga's data as JSON.
    pub data: Box<RawValue>,
    /// Caller, deadline and trace context of the call that begins the saga.
    pub admitted: Admitted,
}

impl NewSaga {
    /// Makes a request for a saga of the definition `S`.
    ///
    /// # Panics
    /// If the data cannot be written as JSON, which a plain struct always can.
    pub fn of<S: Saga>(key: IdempotencyKey, data: &S, admitted: Admitted) -> Self {
        let data = serde_json::value::to_raw_value(data).expect("a saga's data is JSON");
        Self { key, definition: S::NAME.to_owned(), data, admitted }
    }
}

/// The outcome of a request for a new saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// The new saga is durably accepted.
    New(SagaId),
    /// The key was used before, with the same payload, and began this saga.
    Repeated(SagaId),
    /// The key was used before, with another payload.
    Conflict,
}

impl Placed {
    pub(crate) fn of(admission: Admission, key: &IdempotencyKey) -> Self {
        match admission {
            Admission::New => Self::New(key.saga),
            Admission::Repeated(id) => Self::Repeated(id),
            Admission::Conflict => Self::Conflict,
        }
    }
}

pub(crate) enum Request {
    Place(NewSaga, oneshot::Sender<Result<Placed, RequestError>>),
    Known(IdempotencyKey, oneshot::Sender<Result<Option<Placed>, RequestError>>),
    Input(SagaId, Input, oneshot::Sender<Result<Answered, RequestError>>),
    Preview(SagaId, Input, oneshot::Sender<Result<Preview, RequestError>>),
    Handle(HandleRequest, oneshot::Sender<Result<Outcome, RequestError>>),
}

/// The effect that an input would have, returned by [`Requests::preview`].
#[derive(Clone, Debug)]
pub struct Preview {
    /// The verdict on the input.
    pub verdict: Verdict,
    /// The saga as it would be afterwards.
    pub saga: Instance,
    /// The commands that would be sent: `book-hotel/action`, with the attempt.
    pub send: Vec<(String, u32)>,
}

/// The outcome of an input: the verdict, and the saga afterwards.
pub(crate) type Answered = (Verdict, Instance);

impl Requests {
    pub(crate) fn new() -> (Self, Received) {
        let (new, begins) = mpsc::channel(limits::MAX_WAITING_REQUESTS);
        let (existing, inputs) = mpsc::channel(limits::MAX_WAITING_REQUESTS);
        (Self { new, existing }, [begins, inputs])
    }

    /// Begins a saga, only once for each key.
    ///
    /// # Errors
    /// [`RequestError`]. It is always safe to try again with the same key.
    pub async fn place(&self, saga: NewSaga) -> Result<Placed, RequestError> {
        let (answer, answered) = oneshot::channel();
        hand_in(&self.new, Request::Place(saga, answer))?;
        answered.await.unwrap_or(Err(RequestError::Unavailable))
    }

    /// Returns the answer that [`Requests::place`] would give for a known key; `None` for a new
    /// one.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn known(&self, key: IdempotencyKey) -> Result<Option<Placed>, RequestError> {
        let (answer, answered) = oneshot::channel();
        hand_in(&self.new, Request::Known(key, answer))?;
        answered.await.unwrap_or(Err(RequestError::Unavailable))
    }

    /// Decides on an input, and returns the verdict and the saga afterwards.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn input(&self, id: SagaId, input: Input) -> Result<Answered, RequestError> {
        let (answer, answered) = oneshot::channel();
        hand_in(&self.existing, Request::Input(id, input, answer))?;
        answered.await.unwrap_or(Err(RequestError::Unavailable))
    }

    /// Makes the same decision as [`Requests::input`] on the same row, but writes and sends
    /// nothing.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn preview(&self, id: SagaId, input: Input) -> Result<Preview, RequestError> {
        let (answer, answered) = oneshot::channel();
        hand_in(&self.existing, Request::Preview(id, input, answer))?;
        answered.await.unwrap_or(Err(RequestError::Unavailable))
    }

    /// Re-drives or discards a message of the quarantine, or returns what that would do.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn handle(&self, request: HandleRequest) -> Result<Outcome, RequestError> {
        let (answer, answered) = oneshot::channel();
        hand_in(&self.existing, Request::Handle(request, answer))?;
        answered.await.unwrap_or(Err(RequestError::Unavailable))
    }

    /// Number of requests for new sagas that still wait in their queue.
    pub(crate) fn waiting(&self) -> u64 {
        (self.new.max_capacity() - self.new.capacity()) as u64
    }
}

fn hand_in(queue: &mpsc::Sender<Request>, request: Request) -> Result<(), RequestError> {
    queue.try_send(request).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => RequestError::Overloaded,
        mpsc::error::TrySendError::Closed(_) => RequestError::Unavailable,
    })
}
