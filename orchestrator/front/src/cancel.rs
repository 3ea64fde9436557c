//! Cancelling an order (semantics 17).

use saga_core::{Cancelled, Cause, Input, Instance, Phase, SagaId, StepState, Verdict, Wish};
use saga_desk::{Caller, metadata, status, validate::id as saga_id};
use saga_engine::SagaReads;
use saga_proto::{
    order::v1::OrderStatus,
    shop::v1::{CancelOrderRequest, CancelOrderResponse},
};
use tokio::time::Instant;
use tonic::{Request, Status};

use crate::{front::Front, validate};

impl<R: SagaReads> Front<R> {
    /// Requests a cancel, then waits until its outcome is known. Repeating the request changes
    /// nothing.
    pub(crate) async fn cancel(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<CancelOrderResponse, Status> {
        let caller = Caller::of(&request)?;
        let patience = metadata::patience(request.metadata(), self.settings.desk.wait_limit);
        let until = Instant::now() + patience;
        let CancelOrderRequest { order_id, reason } = request.into_inner();
        let id = saga_id("order_id", &order_id)?;
        let reason = validate::cancel_reason(&reason)?;
        let saga = self.find_order(id, &caller).await?;
        let saga = saga.ok_or_else(|| status::not_found("order", &order_id))?;

        let mut watched = self.desk.handle.watches.watch(id);
        let wish = Wish { by: caller.signature(), reason };
        let asked = self.desk.handle.requests.input(id, Input::Cancel(wish)).await;
        let (verdict, saga) = asked.map_err(|error| {
            let trace_id = saga_trace::trace_id(saga.traceparent.as_deref());
            status::of_request(&error, "order", &order_id, trace_id)
        })?;
        match verdict {
            Verdict::Cancel(Cancelled::Accepted | Cancelled::Recorded) => {
                let known = |saga: &Instance| saga.ended().is_some() || self.is_paid(saga);
                if known(&saga) {
                    return self.outcome_of_cancel(id, &saga);
                }
                match self.desk.until(id, &mut watched, until, known, "order").await? {
                    Some(saga) => self.outcome_of_cancel(id, &saga),
                    None => Ok(answer(id, OrderStatus::Pending)),
                }
            }
            Verdict::Cancel(Cancelled::TooLate | Cancelled::AlreadyUndone) => {
                self.outcome_of_cancel(id, &saga)
            }
            Verdict::Applied
            | Verdict::Duplicate
            | Verdict::Late
            | Verdict::Foreign
            | Verdict::Contradicts
            | Verdict::Nothing
            | Verdict::Intervention(_) => {
                Err(status::internal("a cancel was taken for something else"))
            }
        }
    }

    /// Returns true if the payment has been captured. From then on the order cannot be undone.
    fn is_paid(&self, saga: &Instance) -> bool {
        let definition = self.desk.hosted.get(&saga.definition, saga.definition_version);
        let pivot = definition.and_then(|definition| definition.pivot());
        let state = pivot.and_then(|step| saga.steps.get(step));
        state.is_some_and(|state| *state == StepState::Done)
    }

    fn outcome_of_cancel(
        &self,
        id: SagaId,
        saga: &Instance,
    ) -> Result<CancelOrderResponse, Status> {
        match &saga.phase {
            Phase::Compensated(Cause::Cancelled(_)) => Ok(answer(id, OrderStatus::Cancelled)),
            Phase::Completed => Err(paid(id)),
            _ if self.is_paid(saga) => Err(paid(id)),
            Phase::Compensated(_) | Phase::Compensating(_) | Phase::Stuck(_) | Phase::Running => {
                match saga.phase.cause() {
                    Some(Cause::Cancelled(_)) | None => Ok(answer(id, OrderStatus::Pending)),
                    Some(cause) => Err(already_undone(id, cause)),
                }
            }
        }
    }
}

fn paid(id: SagaId) -> Status {
    status::precondition(
        "ORDER_PAID",
        "the order is paid and can no longer be cancelled: return it with ReturnOrder \
         (`saga return`), once it is confirmed",
        [("order_id", &id.to_string())],
    )
}

fn already_undone(id: SagaId, cause: &Cause) -> Status {
    let (code, reason) = saga_definitions::reason(cause, "order");
    status::precondition(
        "ORDER_ALREADY_UNDONE",
        &format!("the order was not cancelled, because it is rejected: {code}, {reason}"),
        [("order_id", &id.to_string())],
    )
}

fn answer(id: SagaId, status: OrderStatus) -> CancelOrderResponse {
    CancelOrderResponse { order_id: id.to_string(), status: status.into() }
}
