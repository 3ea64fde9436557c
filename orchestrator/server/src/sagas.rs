//! What operators see of the sagas.

use saga_core::{Instance, State};
use saga_engine::{ListFilter, SagaReads};
use saga_proto::operations::v1::{
    GetSagaRequest, GetSagaResponse, ListSagasRequest, ListSagasResponse, Saga, SagaState,
    sagas_server::Sagas,
};
use tonic::{Request, Response, Status};

use crate::{Caller, describe, front::Front, metadata, metered::metered, page, status, validate};

#[tonic::async_trait]
impl<R: SagaReads> Sagas for Front<R> {
    async fn get_saga(
        &self,
        request: Request<GetSagaRequest>,
    ) -> Result<Response<GetSagaResponse>, Status> {
        let trace = metadata::traceparent(request.metadata());
        let call = self.saga(request);
        metered("saga.operations.v1.Sagas/GetSaga", trace, call).await.map(Response::new)
    }

    async fn list_sagas(
        &self,
        request: Request<ListSagasRequest>,
    ) -> Result<Response<ListSagasResponse>, Status> {
        let trace = metadata::traceparent(request.metadata());
        let call = self.sagas(request);
        metered("saga.operations.v1.Sagas/ListSagas", trace, call).await.map(Response::new)
    }
}

impl<R: SagaReads> Front<R> {
    async fn saga(&self, request: Request<GetSagaRequest>) -> Result<GetSagaResponse, Status> {
        Caller::of(&request)?;
        let saga_id = &request.get_ref().saga_id;
        let id = validate::id("saga_id", saga_id)?;
        let saga = self.find(id).await?.ok_or_else(|| status::not_found("saga", saga_id))?;
        let history = self.reads.history(id, 0).await;
        let history = history.map_err(|failure| status::of_failure(&failure))?;
        // The history was read later: what the saga does not show yet is left out.
        let shown = history.iter().filter(|entry| entry.version <= saga.version);
        Ok(GetSagaResponse {
            history: shown.map(describe::transition).collect(),
            saga: Some(self.described(&saga)),
        })
    }

    async fn sagas(&self, request: Request<ListSagasRequest>) -> Result<ListSagasResponse, Status> {
        Caller::of(&request)?;
        let ListSagasRequest { state, definition, page_size, page_token } = request.into_inner();
        let unknown = |_| status::invalid_field("state", "is none that a saga can have");
        let state = SagaState::try_from(state).map_err(unknown)?;
        let definition = validate::definition(definition)?;
        let size = validate::page_size(page_size)?;
        let filter = ["ListSagas", state.as_str_name(), definition.as_deref().unwrap_or("")];
        let before = match page::read(&filter, &page_token)? {
            Some(cursor) => Some(validate::id("page_token", &cursor)?),
            None => None,
        };
        let limit = usize::try_from(size).unwrap_or_default();
        let wanted = ListFilter {
            state: wanted(state),
            definition: definition.clone(),
            before,
            limit: limit + 1,
        };
        let mut sagas =
            self.reads.list(&wanted).await.map_err(|failure| status::of_failure(&failure))?;
        // One more than asked for tells whether there is a next page.
        let more = sagas.len() > limit;
        sagas.truncate(limit);
        let last = sagas.last().filter(|_| more);
        let next_page_token =
            last.map(|saga| page::write(&filter, &saga.id.to_string())).unwrap_or_default();
        Ok(ListSagasResponse {
            sagas: sagas.iter().map(|saga| self.described(saga)).collect(),
            next_page_token,
        })
    }

    fn described(&self, saga: &Instance) -> Saga {
        let definition = self.hosted.get(&saga.definition, saga.definition_version);
        let names = definition.map(|definition| definition.step_names()).unwrap_or_default();
        describe::saga(saga, &names)
    }
}

/// The state to list; `None` for all.
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
