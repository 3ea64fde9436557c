//! Implements the operators' calls that list and show sagas.

use saga_core::{Instance, State};
use saga_engine::{Census, ListFilter, Need, Place, SagaReads};
use saga_operations::v1::{
    GetSagaRequest, GetSagaResponse, InterveneAllRequest, InterveneRequest, InterveneResponse,
    ListSagasRequest, ListSagasResponse, Saga, SagaFilter, SagaState, sagas_server::Sagas,
};
use tonic::{Request, Response, Status};

use crate::{Caller, Desk, describe, intervene_all::Updates, page, status, validate};

#[tonic::async_trait]
impl<R: SagaReads> Sagas for Desk<R> {
    async fn get_saga(
        &self,
        request: Request<GetSagaRequest>,
    ) -> Result<Response<GetSagaResponse>, Status> {
        self.saga(request).await.map(Response::new)
    }

    async fn list_sagas(
        &self,
        request: Request<ListSagasRequest>,
    ) -> Result<Response<ListSagasResponse>, Status> {
        self.sagas(request).await.map(Response::new)
    }

    async fn intervene(
        &self,
        request: Request<InterveneRequest>,
    ) -> Result<Response<InterveneResponse>, Status> {
        self.step_in(request).await.map(Response::new)
    }

    type InterveneAllStream = Updates;

    async fn intervene_all(
        &self,
        request: Request<InterveneAllRequest>,
    ) -> Result<Response<Updates>, Status> {
        self.step_in_at_all(request).await.map(Response::new)
    }
}

impl<R: SagaReads> Desk<R> {
    async fn saga(&self, request: Request<GetSagaRequest>) -> Result<GetSagaResponse, Status> {
        Caller::of(&request)?;
        let saga_id = &request.get_ref().saga_id;
        let id = validate::id("saga_id", saga_id)?;
        let saga = self.find(id).await?.ok_or_else(|| status::not_found("saga", saga_id))?;
        let history = self.reads.history(id, 0).await;
        let history = history.map_err(|failure| status::of_failure(&failure))?;
        // The history was read after the saga. Entries that are newer than the saga are left out.
        let shown = history.iter().filter(|entry| entry.version <= saga.version);
        Ok(GetSagaResponse {
            history: shown.map(describe::transition).collect(),
            saga: Some(self.described(&saga)),
        })
    }

    async fn sagas(&self, request: Request<ListSagasRequest>) -> Result<ListSagasResponse, Status> {
        Caller::of(&request)?;
        let ListSagasRequest { state, definition, page_size, page_token, filter } =
            request.into_inner();
        let wanted = self.filter(state, definition, filter.clone().unwrap_or_default())?;
        let size = validate::page_size(page_size)?;
        let rest = filter.map(|filter| format!("{filter:?}")).unwrap_or_default();
        let (state, definition) = (state.to_string(), wanted.definition.clone());
        let filter = ["ListSagas", &state, definition.as_deref().unwrap_or(""), &rest];
        let before = match page::read(&filter, &page_token)? {
            Some(cursor) => Some(validate::id("page_token", &cursor)?),
            None => None,
        };
        let limit = usize::try_from(size).unwrap_or_default();
        let wanted = ListFilter { before, limit: limit + 1, ..wanted };
        let quarantined = match wanted.needs_me {
            Some(_) => self.reads.census().await.map_err(|failure| status::of_failure(&failure))?,
            None => Census::default(),
        }
        .quarantined;
        let mut sagas =
            self.reads.list(&wanted).await.map_err(|failure| status::of_failure(&failure))?;
        // One entry more than requested was read. It shows whether there is a next page.
        let more = sagas.len() > limit;
        sagas.truncate(limit);
        let last = sagas.last().filter(|_| more);
        let next_page_token =
            last.map(|saga| page::write(&filter, &saga.id.to_string())).unwrap_or_default();
        Ok(ListSagasResponse {
            sagas: sagas.iter().map(|saga| self.described(saga)).collect(),
            next_page_token,
            quarantined: describe::number(quarantined),
        })
    }

    /// Validates a filter. The caller of this function adds the limit and the first id.
    pub(crate) fn filter(
        &self,
        state: i32,
        definition: String,
        filter: SagaFilter,
    ) -> Result<ListFilter, Status> {
        let unknown = |_| status::invalid_field("state", "is none that a saga can have");
        let state = SagaState::try_from(state).map_err(unknown)?;
        let SagaFilter { older_than_seconds, step, reason, paused, needs_me } = filter;
        Ok(ListFilter {
            state: wanted(state),
            definition: validate::definition(definition)?,
            older_than_millis: validate::age("filter.older_than_seconds", older_than_seconds)?,
            paused: paused.then_some(true),
            step: if step.is_empty() { None } else { Some(self.places_of(&step)?) },
            reason: validate::reason_code(reason)?,
            needs_me: needs_me.then(|| self.hosted.clone()),
            ..ListFilter::default()
        })
    }

    /// Finds the positions of a step in all definitions that are hosted here.
    fn places_of(&self, step: &str) -> Result<Place, Status> {
        let hosted = self.hosted.names().filter_map(|(name, version)| {
            let definition = self.hosted.get(name, version)?;
            let index = definition.step_names().iter().position(|own| *own == step)?;
            Some((name.to_owned(), version, index))
        });
        let places: Vec<_> = hosted.collect();
        if places.is_empty() {
            return Err(status::invalid_field("filter.step", "is no step of a hosted definition"));
        }
        Ok(Place { places })
    }

    pub(crate) fn described(&self, saga: &Instance) -> Saga {
        let definition = self.hosted.get(&saga.definition, saga.definition_version);
        let need = Need::of(&self.hosted, saga);
        describe::saga(saga, definition.map(|definition| &**definition), need.as_ref())
    }
}

/// Converts the state to list. `None` means all states.
fn wanted(state: SagaState) -> Option<State> {
    match state {
        SagaState::Unspecified => None,
        SagaState::Running => Some(State::Running),
        SagaState::Compensating => Some(State::Compensating),
        SagaState::Completed => Some(State::Completed),
        SagaState::Compensated => Some(State::Compensated),
        SagaState::Stuck => Some(State::Stuck),
    }
}
