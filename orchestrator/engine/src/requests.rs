//! What clients and operators ask for: new sagas, and inputs to old ones.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use metrics::{counter, histogram};
use saga_core::{Decision, Failure, Input, Instance, OutgoingCommand, SagaId, Timestamp, Verdict};
use saga_messaging::{Changed, Pace};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::warn;

use crate::{
    Admission, IdempotencyKey, Outcome, SagaStore, Settlement, Write,
    engine::Shared,
    fold::{Fate, fold, seconds},
    limits,
    outgoing::Outgoing,
    retention::is_too_old,
    settle::settle,
    trace::Turn,
};

/// Where requests are handed in. Whoever has handed one in may go away: the
/// request goes on.
#[derive(Clone)]
pub struct Requests {
    queue: mpsc::Sender<Request>,
}

/// A saga to be begun.
#[derive(Clone)]
pub struct NewSaga {
    /// The client's key, bound to the new saga's id.
    pub key: IdempotencyKey,
    /// Makes the first decision, at the store's time.
    pub begin: Arc<dyn Fn(Timestamp) -> Decision + Send + Sync>,
}

/// What became of a new saga.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is durably accepted.
    New(SagaId),
    /// The key was known: this is its saga.
    Repeated(SagaId),
    /// The key was used with another payload.
    Conflict,
}

impl Placed {
    fn of(admission: Admission, key: &IdempotencyKey) -> Self {
        match admission {
            Admission::New => Self::New(key.saga),
            Admission::Repeated(id) => Self::Repeated(id),
            Admission::Conflict => Self::Conflict,
        }
    }
}

/// Why a request was not carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// Too many requests wait. Nothing was written: come again.
    #[error("too many requests wait")]
    Overloaded,
    /// The store does not answer. It may or may not have been written: ask again
    /// under the same key.
    #[error("the store does not answer")]
    Unavailable,
    /// The saga does not exist.
    #[error("no such saga")]
    NotFound,
    /// This binary cannot decide on the saga.
    #[error("the saga cannot be decided on by this version")]
    Undecidable,
}

pub(crate) enum Request {
    Place(NewSaga, oneshot::Sender<Result<Placed, RequestError>>),
    Known(IdempotencyKey, oneshot::Sender<Result<Option<Placed>, RequestError>>),
    Input(SagaId, Input, oneshot::Sender<Result<Answered, RequestError>>),
    Preview(SagaId, Input, oneshot::Sender<Result<Preview, RequestError>>),
    Settle(Settlement, oneshot::Sender<Result<Outcome, RequestError>>),
}

/// What an input would do.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What would become of it.
    pub verdict: Verdict,
    /// The saga as it would be.
    pub saga: Instance,
    /// What would be sent: `reserve-stock/action`, with the attempt.
    pub send: Vec<(String, u32)>,
}

/// What became of an input: the verdict, and the saga afterwards.
type Answered = (Verdict, Instance);

impl Requests {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (queue, requests) = mpsc::channel(limits::MAX_WAITING_REQUESTS);
        (Self { queue }, requests)
    }

    /// Begins a saga, once a key.
    ///
    /// # Errors
    /// [`RequestError`]; asking again under the same key is always safe.
    pub async fn place(&self, saga: NewSaga) -> Result<Placed, RequestError> {
        let (answer, answered) = oneshot::channel();
        self.hand_in(Request::Place(saga, answer))?;
        answered.await.unwrap_or(Err(RequestError::Unavailable))
    }

    /// What [`Requests::place`] would answer for a key that is bound; `None` if it is not.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn known(&self, key: IdempotencyKey) -> Result<Option<Placed>, RequestError> {
        let (answer, answered) = oneshot::channel();
        self.hand_in(Request::Known(key, answer))?;
        answered.await.unwrap_or(Err(RequestError::Unavailable))
    }

    /// Has an input decided on, and says what became of it and of the saga.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn input(&self, id: SagaId, input: Input) -> Result<Answered, RequestError> {
        let (answer, answered) = oneshot::channel();
        self.hand_in(Request::Input(id, input, answer))?;
        answered.await.unwrap_or(Err(RequestError::Unavailable))
    }

    /// Says what an input would do: the same decision on the same row, and nothing
    /// is written or sent.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn preview(&self, id: SagaId, input: Input) -> Result<Preview, RequestError> {
        let (answer, answered) = oneshot::channel();
        self.hand_in(Request::Preview(id, input, answer))?;
        answered.await.unwrap_or(Err(RequestError::Unavailable))
    }

    /// Has a message of the quarantine re-driven or discarded, or says what that would do.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn settle(&self, settlement: Settlement) -> Result<Outcome, RequestError> {
        let (answer, answered) = oneshot::channel();
        self.hand_in(Request::Settle(settlement, answer))?;
        answered.await.unwrap_or(Err(RequestError::Unavailable))
    }

    /// How many have been handed in and were not looked at yet.
    pub(crate) fn waiting(&self) -> u64 {
        (self.queue.max_capacity() - self.queue.capacity()) as u64
    }

    fn hand_in(&self, request: Request) -> Result<(), RequestError> {
        self.queue.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RequestError::Overloaded,
            mpsc::error::TrySendError::Closed(_) => RequestError::Unavailable,
        })
    }
}

/// Carries out requests, as many at once as have come, until shutdown.
pub(crate) async fn carry_out<S: SagaStore>(
    shared: Arc<Shared<S>>,
    mut requests: mpsc::Receiver<Request>,
    to_confirm: mpsc::Sender<Outgoing>,
) {
    let mut batch = Vec::new();
    let mut waiting = Outgoing::default();
    // An engine whose handles are all gone still drives what others begin.
    let mut open = true;
    let mut pace = Pace::default();
    loop {
        pace.rest().await;
        let stopping = tokio::select! {
            // What is decided leaves before more is decided.
            biased;
            () = shared.shutdown.cancelled() => true,
            place = to_confirm.reserve(), if !waiting.is_empty() => {
                // Without a way out the engine is stopping.
                let Ok(place) = place else { return };
                place.send(std::mem::take(&mut waiting));
                continue;
            }
            count = requests.recv_many(&mut batch, limits::MAX_BATCH), if open => {
                open = count > 0;
                false
            }
        };
        if stopping {
            // What has been accepted is carried out; what comes now is refused.
            requests.close();
            while let Ok(request) = requests.try_recv() {
                batch.push(request);
            }
        }
        let (members, began) = (batch.len(), Instant::now());
        let (mut places, mut inputs, mut previews) = (Vec::new(), Vec::new(), Vec::new());
        let (mut settlements, mut lookups) = (Vec::new(), Vec::new());
        for request in batch.drain(..) {
            match request {
                Request::Place(saga, answer) => places.push((saga, answer)),
                Request::Known(key, answer) => lookups.push((key, answer)),
                Request::Input(id, input, answer) => inputs.push((id, input, answer)),
                Request::Preview(id, input, answer) => previews.push((id, input, answer)),
                Request::Settle(settlement, answer) => settlements.push((settlement, answer)),
            }
        }
        if !places.is_empty() {
            histogram!("saga_admission_batch_members").record(places.len() as f64);
            place(&shared, places, &mut waiting).await;
        }
        if !lookups.is_empty() {
            look_up(&shared, lookups).await;
        }
        if !inputs.is_empty() {
            answer_inputs(&shared, inputs, &mut waiting).await;
        }
        for (id, input, answer) in previews {
            let _ = answer.send(preview(&shared, id, &input).await);
        }
        for (settlement, answer) in settlements {
            let _ = answer.send(settle(&shared, &settlement, &mut waiting).await);
        }
        pace.worked(members, began);
        if let Ok(place) = to_confirm.try_reserve() {
            place.send(std::mem::take(&mut waiting));
        } else if waiting.commands.len() > limits::MAX_WAITING_COMMANDS {
            // While the broker is away orders are still accepted: what cannot be
            // published now is derived again when its saga wakes.
            counter!("saga_publishing_left_to_wake_total").increment(waiting.commands.len() as u64);
            waiting = Outgoing::default();
        }
        if stopping {
            return;
        }
    }
}

type Places = Vec<(NewSaga, oneshot::Sender<Result<Placed, RequestError>>)>;

async fn place<S: SagaStore>(shared: &Shared<S>, places: Places, outgoing: &mut Outgoing) {
    let watermark = *shared.watermark.borrow();
    let (refused, places): (Places, Places) =
        places.into_iter().partition(|(saga, _)| is_too_old(saga, watermark));
    for (_, answer) in refused {
        let _ = answer.send(Err(RequestError::Unavailable));
    }
    if places.is_empty() {
        return;
    }
    let keys: Vec<IdempotencyKey> = places.iter().map(|(saga, _)| saga.key.clone()).collect();
    let decide = |now: Timestamp, new: &[usize]| {
        let mut writes = Vec::with_capacity(new.len());
        let mut commands = Vec::with_capacity(new.len());
        for index in new {
            let decision = (places[*index].0.begin)(now);
            if let Some(saga) = decision.saga {
                writes.push(Write {
                    before: 0,
                    saga,
                    history: decision.history.into_iter().collect(),
                });
            }
            commands.extend(decision.send);
        }
        (writes.clone(), (now, writes, commands))
    };
    let (began, mut conflicts) = (SystemTime::now(), 0);
    let admitted = loop {
        match shared.store.admit(&keys, decide).await {
            Err(Failure::Conflict(_)) if conflicts < limits::CONFLICT_RETRIES => conflicts += 1,
            done => break done,
        }
        tokio::time::sleep(limits::FIRST_PAUSE).await;
    };
    match admitted {
        Ok((admissions, decided)) => {
            if let Some((now, writes, mut commands)) = decided {
                for write in &writes {
                    let definition = write.saga.definition.clone();
                    counter!("saga_started_total", "definition" => definition).increment(1);
                }
                Turn::over::<S>(began).spans(&writes, &mut commands, |_| None);
                outgoing.now = Some(now);
                outgoing.commands.extend(commands);
                shared.committed(&writes, outgoing);
            }
            for ((saga, answer), admission) in places.into_iter().zip(admissions) {
                let _ = answer.send(Ok(Placed::of(admission, &saga.key)));
            }
        }
        Err(failure) => {
            warn!(%failure, requests = places.len(), "new sagas could not be accepted");
            for (_, answer) in places {
                let _ = answer.send(Err(RequestError::Unavailable));
            }
        }
    }
}

type Lookups = Vec<(IdempotencyKey, oneshot::Sender<Result<Option<Placed>, RequestError>>)>;

async fn look_up<S: SagaStore>(shared: &Shared<S>, lookups: Lookups) {
    let (keys, answers): (Vec<_>, Vec<_>) = lookups.into_iter().unzip();
    match shared.store.known(&keys).await {
        Ok(admissions) => {
            for ((key, admission), answer) in keys.iter().zip(admissions).zip(answers) {
                let _ = answer.send(Ok(admission.map(|admission| Placed::of(admission, key))));
            }
        }
        Err(failure) => {
            warn!(%failure, requests = keys.len(), "keys could not be looked up");
            for answer in answers {
                let _ = answer.send(Err(RequestError::Unavailable));
            }
        }
    }
}

type Inputs = Vec<(SagaId, Input, oneshot::Sender<Result<Answered, RequestError>>)>;

async fn answer_inputs<S: SagaStore>(shared: &Shared<S>, inputs: Inputs, outgoing: &mut Outgoing) {
    let mut by_saga: BTreeMap<SagaId, Vec<Input>> = BTreeMap::new();
    for (id, input, _) in &inputs {
        by_saga.entry(*id).or_default().push(input.clone());
    }
    let ids: Vec<SagaId> = by_saga.keys().copied().collect();
    let decide = |now: Timestamp, sagas: Vec<Instance>| {
        let (mut writes, mut alerts) = (Vec::new(), Vec::new());
        let mut done = BTreeMap::new();
        for saga in sagas {
            let (id, unchanged) = (saga.id, saga.clone());
            let folded = fold(&shared.hosted, saga, &by_saga[&id], now);
            let after = folded.write.as_ref().map_or(unchanged, |write| write.saga.clone());
            writes.extend(folded.write);
            alerts.extend(folded.alerts);
            done.insert(id, (after, folded.fates, folded.send));
        }
        (writes.clone(), (now, writes, alerts, done))
    };
    let began = SystemTime::now();
    match shared.persist(|| shared.store.turn(&ids, decide), Some(limits::CONFLICT_RETRIES)).await {
        Ok((now, writes, alerts, mut done)) => {
            outgoing.now.get_or_insert(now);
            shared.committed(&writes, outgoing);
            shared.raise(alerts);
            let mut commands: Vec<OutgoingCommand> =
                done.values_mut().flat_map(|(_, _, send)| std::mem::take(send)).collect();
            Turn::over::<S>(began).spans(&writes, &mut commands, |_| None);
            outgoing.commands.append(&mut commands);
            for (id, _, answer) in inputs {
                let result = match done.get_mut(&id) {
                    None => Err(RequestError::NotFound),
                    Some((saga, fates, _)) => match fates.remove(0) {
                        Fate::Decided(verdict) => Ok((verdict, saga.clone())),
                        Fate::Poison(_) | Fate::Undecidable => Err(RequestError::Undecidable),
                    },
                };
                let _ = answer.send(result);
            }
        }
        Err(failure) => {
            warn!(%failure, "requests could not be carried out");
            for (_, _, answer) in inputs {
                let _ = answer.send(Err(RequestError::Unavailable));
            }
        }
    }
}

/// A turn that writes nothing. People ask for few of them, one at a time.
async fn preview<S: SagaStore>(
    shared: &Shared<S>,
    id: SagaId,
    input: &Input,
) -> Result<Preview, RequestError> {
    let decide = |now: Timestamp, sagas: Vec<Instance>| {
        let seen = sagas.into_iter().next().ok_or(RequestError::NotFound);
        let preview = seen.and_then(|saga| {
            let definition = shared.hosted.get(&saga.definition, saga.definition_version);
            let definition = definition.ok_or(RequestError::Undecidable)?;
            let decision = definition.turn(&saga, input, now);
            let decision = decision.map_err(|_| RequestError::Undecidable)?;
            Ok(Preview {
                verdict: decision.verdict,
                saga: decision.saga.unwrap_or(saga),
                send: decision.history.map(|entry| entry.sent).unwrap_or_default(),
            })
        });
        (Vec::new(), preview)
    };
    let ids = [id];
    let turn = shared.persist(|| shared.store.turn(&ids, decide), Some(limits::CONFLICT_RETRIES));
    turn.await.unwrap_or_else(|failure| {
        warn!(%failure, "a preview could not be made");
        Err(RequestError::Unavailable)
    })
}

impl<S: SagaStore> Shared<S> {
    /// Tells those who wait, here and elsewhere, what was committed.
    pub(crate) fn committed(&self, writes: &[Write], outgoing: &mut Outgoing) {
        self.in_flight.committed(writes);
        self.watches.committed(writes);
        for write in writes {
            outgoing.changed.push(Changed { saga: write.saga.id, version: write.saga.version });
            if write.saga.ended().is_some() {
                let (definition, outcome) =
                    (write.saga.definition.clone(), write.saga.phase.name());
                counter!("saga_ended_total", "definition" => definition.clone(), "outcome" => outcome)
                    .increment(1);
                if let Some(end) = write.history.last() {
                    histogram!("saga_seconds", "definition" => definition, "outcome" => outcome)
                        .record(seconds(write.saga.started_at, end.at));
                }
            }
        }
    }
}
