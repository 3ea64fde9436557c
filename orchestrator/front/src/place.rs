//! Places a new order: from the call to its saga.

use std::time::Duration;

use prost::Message as _;
use saga_core::{Admitted, SagaId};
use saga_definitions::PlaceOrder;
use saga_desk::{Caller, RETRY_AFTER, metadata, status};
use saga_engine::{IdempotencyKey, NewSaga, Placed, SagaReads, Watched};
use saga_proto::shop::v1::{PlaceOrderRequest, PlaceOrderResponse};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tonic::{Request, Status};
use uuid::Uuid;

use crate::{front::Front, standing::Standing, validate};

/// Scope of the idempotency keys, in addition to the caller. It is stored, so it never changes.
const METHOD: &str = "PlaceOrder";

impl<R: SagaReads> Front<R> {
    /// Validates an order, hands it to the engine, and waits if the caller asks for that. The
    /// engine has the order from this future's first poll on, so after that the caller may
    /// disconnect.
    pub(crate) async fn place(
        &self,
        request: Request<PlaceOrderRequest>,
    ) -> Result<PlaceOrderResponse, Status> {
        let caller = Caller::of(&request)?;
        let patience = metadata::patience(request.metadata(), self.settings.desk.wait_limit);
        let until = Instant::now() + patience;
        let traceparent = metadata::continued(request.metadata());
        let order = request.into_inner();
        validate::place_order(&order)?;
        let open = self.desk.check_capacity("orders").and_then(|()| self.check_payments());

        let (key, wait) = (order.idempotency_key.clone(), order.wait);
        let partition = IdempotencyKey::partition(caller.as_str(), METHOD, &key);
        let id = SagaId::in_partition(Uuid::now_v7(), partition);
        // Watching begins before the saga exists, so that no change is missed.
        let watched = wait.then(|| self.desk.handle.watches.watch(id));
        let new = self.new_saga(id, &caller, order, traceparent);
        match self.desk.begin(new, open, "order").await? {
            Placed::New(id) => {
                let standing = match watched {
                    Some(watched) => self.outcome(watched, until).await,
                    None => Standing::pending(),
                };
                Ok(response(id, standing, false))
            }
            Placed::Repeated(id) => {
                drop(watched);
                Ok(response(id, self.known_outcome(id, wait, until).await?, true))
            }
            Placed::Conflict => Err(status::key_reused(&key)),
        }
    }

    /// Refuses new orders once the provider has been unavailable for as long as an order may take.
    fn check_payments(&self) -> Result<(), Status> {
        match self.payment.away_for(self.settings.order_deadline) {
            Some(until_tried) => Err(status::unavailable(
                "payments cannot be taken now: call again, with the same idempotency key",
                "PAYMENT_AWAY",
                until_tried.max(RETRY_AFTER),
            )),
            None => Ok(()),
        }
    }

    fn new_saga(
        &self,
        id: SagaId,
        caller: &Caller,
        order: PlaceOrderRequest,
        traceparent: Option<String>,
    ) -> NewSaga {
        let key = IdempotencyKey {
            caller: caller.as_str().to_owned(),
            method: METHOD,
            payload_hash: payload_hash(&order),
            key: order.idempotency_key,
            saga: id,
        };
        let data = PlaceOrder {
            caller: caller.as_str().to_owned(),
            customer: order.customer,
            lines: order.lines,
            payment_token: order.payment_token,
            expected_total: order.expected_total,
            quote: None,
        };
        NewSaga::of(key, &data, self.admitted(caller, traceparent))
    }

    /// Returns the facts about the call that a new saga stores.
    pub(crate) fn admitted(&self, caller: &Caller, traceparent: Option<String>) -> Admitted {
        Admitted {
            caller: caller.as_str().to_owned(),
            deadline_millis: millis(self.settings.order_deadline),
            traceparent,
        }
    }

    /// Waits for the end of an order that was just accepted.
    async fn outcome(&self, mut watched: Watched, until: Instant) -> Standing {
        let saga = self.desk.until_ended(&mut watched, until).await;
        saga.as_deref().map_or_else(Standing::pending, Standing::of)
    }

    /// Returns the standing of an order that an earlier call placed. Waits for the order's end if
    /// the caller asks for that.
    async fn known_outcome(
        &self,
        id: SagaId,
        wait: bool,
        until: Instant,
    ) -> Result<Standing, Status> {
        let watched = wait.then(|| self.desk.handle.watches.watch(id));
        let saga = self.desk.find(id).await?;
        let saga = saga.ok_or_else(|| status::not_found("order", &id.to_string()))?;
        match watched {
            Some(watched) if saga.ended().is_none() => Ok(self.outcome(watched, until).await),
            Some(_) | None => Ok(Standing::of(&saga)),
        }
    }
}

/// Hashes an order without its key and without `wait`. The order is encoded again first, so that
/// every encoding of the same order gets the same hash.
fn payload_hash(order: &PlaceOrderRequest) -> Vec<u8> {
    let asked = PlaceOrderRequest { idempotency_key: String::new(), wait: false, ..order.clone() };
    Sha256::digest(asked.encode_to_vec()).to_vec()
}

fn response(id: SagaId, standing: Standing, repeated: bool) -> PlaceOrderResponse {
    PlaceOrderResponse {
        order_id: id.to_string(),
        status: standing.status.into(),
        reason_code: standing.reason_code,
        reason: standing.reason,
        repeated,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use saga_proto::types::v1::Line;

    use super::*;

    #[test]
    fn the_payloads_hash_leaves_out_key_and_wait_and_nothing_else() {
        let line = Line { sku: "teapot".into(), quantity: 1 };
        let order = PlaceOrderRequest { lines: vec![line], ..Default::default() };
        let hash = payload_hash(&order);
        let other = |change: &dyn Fn(&mut PlaceOrderRequest)| {
            let mut other = order.clone();
            change(&mut other);
            payload_hash(&other)
        };
        assert_eq!(other(&|o| o.idempotency_key = "k".into()), hash);
        assert_eq!(other(&|o| o.wait = true), hash);
        assert_ne!(other(&|o| o.customer = "ada".into()), hash);
        assert_ne!(other(&|o| o.lines[0].quantity = 2), hash);
        assert_ne!(other(&|o| o.payment_token = "tok".into()), hash);
        assert_ne!(other(&|o| o.expected_total = Some(Default::default())), hash);
    }
}
