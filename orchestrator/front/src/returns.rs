//! Returns an order. Each return is a saga of its own.

use std::sync::Arc;

use prost::Message as _;
use saga_core::{Instance, Phase, Saga as _, SagaId};
use saga_definitions::{ReturnOrder, reason};
use saga_desk::{Caller, metadata, status, validate::id as saga_id};
use saga_engine::{IdempotencyKey, NewSaga, Placed, SagaReads};
use saga_proto::shop::v1::{
    GetReturnRequest, Return, ReturnOrderRequest, ReturnOrderResponse, ReturnStatus,
};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tonic::{Request, Status};
use tracing::error;
use uuid::Uuid;

use crate::{front::Front, validate};

/// Scope of the idempotency keys, in addition to the caller. It is stored, so it never changes.
const METHOD: &str = "ReturnOrder";

impl<R: SagaReads> Front<R> {
    /// Validates the request, hands the return to the engine, and waits if the caller asks for
    /// that. Whether the order may be returned is decided later in the saga, by the order service,
    /// because the order is locked only there.
    pub(crate) async fn begin_return(
        &self,
        request: Request<ReturnOrderRequest>,
    ) -> Result<ReturnOrderResponse, Status> {
        let caller = Caller::of(&request)?;
        let patience = metadata::patience(request.metadata(), self.settings.desk.wait_limit);
        let until = Instant::now() + patience;
        let traceparent = metadata::continued(request.metadata());
        let asked = request.into_inner();
        let order = validate::return_order(&asked)?;
        let open = self.desk.check_capacity("orders");

        let (key, wait) = (asked.idempotency_key.clone(), asked.wait);
        // A return changes its order's rows.
        let id = SagaId::in_partition(Uuid::now_v7(), order.partition());
        // Watching begins before the saga exists, so that no change is missed.
        let watched = wait.then(|| self.desk.handle.watches.watch(id));
        let new = self.new_return(id, order, &caller, asked, traceparent);
        let (id, repeated, watched) = match self.desk.begin(new, open, "return").await? {
            Placed::New(id) => (id, false, watched),
            Placed::Repeated(id) => (id, true, wait.then(|| self.desk.handle.watches.watch(id))),
            Placed::Conflict => return Err(status::key_reused(&key)),
        };
        let ended = match watched {
            Some(mut watched) => self.desk.until_ended(&mut watched, until).await,
            None => None,
        };
        let saga = match ended {
            Some(saga) => saga,
            None => {
                let saga = self.desk.find(id).await?;
                Arc::new(saga.ok_or_else(|| status::not_found("return", &id.to_string()))?)
            }
        };
        Ok(ReturnOrderResponse { details: Some(told(&saga)), repeated })
    }

    /// Reads one of the caller's returns.
    pub(crate) async fn read_return(
        &self,
        request: Request<GetReturnRequest>,
    ) -> Result<Return, Status> {
        let caller = Caller::of(&request)?;
        let return_id = &request.get_ref().return_id;
        let id = saga_id("return_id", return_id)?;
        let mine = |saga: &Instance| saga.definition == ReturnOrder::NAME && caller.owns(saga);
        let saga = self.desk.find(id).await?.filter(mine);
        saga.as_ref().map(told).ok_or_else(|| status::not_found("return", return_id))
    }

    fn new_return(
        &self,
        id: SagaId,
        order: SagaId,
        caller: &Caller,
        asked: ReturnOrderRequest,
        traceparent: Option<String>,
    ) -> NewSaga {
        let key = IdempotencyKey {
            caller: caller.as_str().to_owned(),
            method: METHOD,
            payload_hash: payload_hash(&asked),
            key: asked.idempotency_key,
            saga: id,
        };
        let data = ReturnOrder {
            caller: caller.as_str().to_owned(),
            order_id: order.to_string(),
            lines: asked.lines,
            reason: asked.reason,
            opened: None,
        };
        NewSaga::of(key, &data, self.admitted(caller, traceparent))
    }
}

/// Hashes a return without its key and without `wait`.
fn payload_hash(asked: &ReturnOrderRequest) -> Vec<u8> {
    let asked = ReturnOrderRequest { idempotency_key: String::new(), wait: false, ..asked.clone() };
    Sha256::digest(asked.encode_to_vec()).to_vec()
}

/// Describes a return from its saga's row. While the saga is being undone, the return is PENDING.
fn told(saga: &Instance) -> Return {
    let (status, (reason_code, reason)) = match &saga.phase {
        Phase::Running | Phase::Compensating(_) | Phase::Stuck(_) => {
            (ReturnStatus::Pending, Default::default())
        }
        Phase::Completed => (ReturnStatus::Done, Default::default()),
        Phase::Compensated(cause) => (ReturnStatus::Rejected, reason(cause, "return")),
    };
    let mut told = Return {
        return_id: saga.id.to_string(),
        status: status.into(),
        reason_code,
        reason,
        started_at_micros: saga.started_at.0,
        ..Return::default()
    };
    match serde_json::from_str::<ReturnOrder>(saga.data.get()) {
        Ok(data) => {
            told.order_id = data.order_id;
            if let Some(opened) = data.opened.filter(|_| status != ReturnStatus::Rejected) {
                (told.lines, told.amount) = (opened.lines, opened.amount);
            }
        }
        // A later version wrote this data. The status of the return is known even so.
        Err(_) => {
            error!(saga = %saga.id, trace_id = saga_trace::trace_id(saga.traceparent.as_deref()), "the data of a return's saga does not decode")
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use saga_proto::types::v1::Line;

    use super::*;

    #[test]
    fn the_payloads_hash_leaves_out_key_and_wait_and_nothing_else() {
        let line = Line { sku: "teapot".into(), quantity: 1 };
        let asked = ReturnOrderRequest { lines: vec![line], ..Default::default() };
        let hash = payload_hash(&asked);
        let other = |change: &dyn Fn(&mut ReturnOrderRequest)| {
            let mut other = asked.clone();
            change(&mut other);
            payload_hash(&other)
        };
        assert_eq!(other(&|o| o.idempotency_key = "k".into()), hash);
        assert_eq!(other(&|o| o.wait = true), hash);
        assert_ne!(other(&|o| o.order_id = "o".into()), hash);
        assert_ne!(other(&|o| o.lines.clear()), hash);
        assert_ne!(other(&|o| o.reason = "broken".into()), hash);
    }
}
