//! Carries out requests, as many at once as have arrived. One loop begins sagas, and another one
//! decides on existing ones.

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use metrics::{counter, histogram};
use saga_core::{Failure, Input, Instance, SagaId, Start, Timestamp};
use saga_messaging::{Pace, answered};
use saga_trace::trace_id;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tracing::{error, warn};

use crate::{
    IdempotencyKey, NewSaga, Placed, Preview, RequestError, SagaStore,
    fold::{Cue, Fate, Folded, fold},
    limits,
    outgoing::Outgoing,
    quarantine::desk::handle,
    requests::{Answered, Request},
    shared::{Shared, Turned},
};

/// Carries out the requests of one queue until shutdown.
pub(crate) async fn carry_out<S: SagaStore>(
    shared: Arc<Shared<S>>,
    mut requests: mpsc::Receiver<Request>,
    to_confirm: mpsc::Sender<Outgoing>,
) {
    let mut batch = Vec::new();
    let mut waiting = Outgoing::default();
    // False once all handles are gone. The engine then still drives sagas of other engines.
    let mut open = true;
    let mut pace = Pace::default();
    loop {
        pace.rest().await;
        let stopping = tokio::select! {
            // Publish the commands of earlier decisions before making more decisions.
            biased;
            () = shared.shutdown.cancelled() => true,
            place = to_confirm.reserve(), if !waiting.is_empty() => {
                // The stage has ended, so the engine is stopping.
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
            // Requests that were accepted are carried out; new ones are refused.
            requests.close();
            while let Ok(request) = requests.try_recv() {
                batch.push(request);
            }
        }
        let (members, began) = (batch.len(), Instant::now());
        let (mut places, mut inputs, mut previews) = (Vec::new(), Vec::new(), Vec::new());
        let (mut handled, mut lookups) = (Vec::new(), Vec::new());
        for request in batch.drain(..) {
            match request {
                Request::Place(saga, answer) => places.push((saga, answer)),
                Request::Known(key, answer) => lookups.push((key, answer)),
                Request::Input(id, input, answer) => inputs.push((id, input, answer)),
                Request::Preview(id, input, answer) => previews.push((id, input, answer)),
                Request::Handle(request, answer) => handled.push((request, answer)),
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
        for (request, answer) in handled {
            let _ = answer.send(handle(&shared, &request, &mut waiting).await);
        }
        pace.worked(members, began);
        if let Ok(place) = to_confirm.try_reserve() {
            place.send(std::mem::take(&mut waiting));
        } else if waiting.commands.len() > limits::MAX_WAITING_COMMANDS {
            // New sagas are accepted even while the broker is away. Their commands are derived
            // again when the sagas wake.
            counter!("saga_publishing_left_to_wake_total").increment(waiting.commands.len() as u64);
            waiting = Outgoing::default();
        }
        if stopping {
            return;
        }
    }
}

type Placing = (NewSaga, oneshot::Sender<Result<Placed, RequestError>>);

/// Begins sagas, only once for each key.
async fn place<S: SagaStore>(shared: &Shared<S>, places: Vec<Placing>, outgoing: &mut Outgoing) {
    let (mut keys, mut starts, mut answers) = (Vec::new(), Vec::new(), Vec::new());
    for (saga, answer) in places {
        match start(shared, &saga) {
            Ok(start) => {
                keys.push(saga.key);
                starts.push(start);
                answers.push(answer);
            }
            Err(refusal) => {
                let _ = answer.send(Err(refusal));
            }
        }
    }
    if keys.is_empty() {
        return;
    }
    let decide = |now: Timestamp, new: &[usize]| {
        let mut turned = Turned::at(now);
        for index in new {
            turned.add(Folded::first(starts[*index](now)));
        }
        (turned.writes.clone(), turned)
    };
    let (began, mut conflicts) = (SystemTime::now(), 0);
    let admitted = loop {
        match answered(shared.store.admit(&keys, decide)).await {
            Err(Failure::Conflict(_)) if conflicts < limits::CONFLICT_RETRIES => conflicts += 1,
            done => break done,
        }
        tokio::time::sleep(limits::FIRST_PAUSE).await;
    };
    match admitted {
        Ok((admissions, turned)) => {
            if let Some(turned) = turned {
                shared.committed(began, turned, |_| None, outgoing);
            }
            for ((key, answer), admission) in keys.iter().zip(answers).zip(admissions) {
                let _ = answer.send(Ok(Placed::of(admission, key)));
            }
        }
        Err(failure) => {
            warn!(%failure, requests = keys.len(), "new sagas could not be accepted");
            for answer in answers {
                let _ = answer.send(Err(RequestError::Unavailable));
            }
        }
    }
}

/// Returns a function that makes a new saga's first decision at the store's time.
fn start<'a, S>(shared: &'a Shared<S>, new: &NewSaga) -> Result<Start<'a>, RequestError> {
    let NewSaga { key, definition, data, admitted } = new;
    let saga = key.saga;
    let watermark = *shared.watermark.borrow();
    if watermark.covers(saga) {
        // The saga is below the watermark, so participants would drop its commands as late.
        let trace_id = trace_id(admitted.traceparent.as_deref());
        error!(%saga, trace_id, %watermark, "a new saga is refused: this process's clock is behind the database's by more than the retention");
        return Err(RequestError::Unavailable);
    }
    let hosted = shared.hosted.begins(definition);
    let hosted = hosted.ok_or_else(|| RequestError::Unhosted(definition.clone()))?;
    hosted.start(saga, data, admitted.clone()).map_err(|why| RequestError::Data(why.to_string()))
}

type Lookups = Vec<(IdempotencyKey, oneshot::Sender<Result<Option<Placed>, RequestError>>)>;

async fn look_up<S: SagaStore>(shared: &Shared<S>, lookups: Lookups) {
    let (keys, answers): (Vec<_>, Vec<_>) = lookups.into_iter().unzip();
    match answered(shared.store.known(&keys)).await {
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
        let mut turned = Turned::at(now);
        let mut done = BTreeMap::new();
        for saga in sagas {
            let (id, unchanged) = (saga.id, saga.clone());
            let folded = fold(&shared.hosted, saga, by_saga[&id].iter().map(Cue::own), now);
            let after = folded.write.as_ref().map_or(unchanged, |write| write.saga.clone());
            done.insert(id, (after, turned.add(folded)));
        }
        (turned.writes.clone(), (turned, done))
    };
    let began = SystemTime::now();
    match shared.persist(|| shared.store.turn(&ids, decide), Some(limits::CONFLICT_RETRIES)).await {
        Ok((turned, mut done)) => {
            shared.committed(began, turned, |_| None, outgoing);
            for (id, _, answer) in inputs {
                let result = match done.get_mut(&id) {
                    None => Err(RequestError::NotFound),
                    Some((saga, fates)) => match fates.remove(0) {
                        Fate::Decided(verdict) => Ok((verdict, saga.clone())),
                        Fate::Unhosted => Err(RequestError::Elsewhere),
                        Fate::Impostor(_) | Fate::Poison(_) | Fate::Undecidable => {
                            Err(RequestError::Undecidable)
                        }
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

/// Makes a turn that writes nothing. Only people ask for previews, so each has its own transaction.
async fn preview<S: SagaStore>(
    shared: &Shared<S>,
    id: SagaId,
    input: &Input,
) -> Result<Preview, RequestError> {
    let decide = |now: Timestamp, sagas: Vec<Instance>| {
        let seen = sagas.into_iter().next().ok_or(RequestError::NotFound);
        let preview = seen.and_then(|saga| {
            let definition = shared.hosted.get(&saga.definition, saga.definition_version);
            let definition = definition.ok_or(RequestError::Elsewhere)?;
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
