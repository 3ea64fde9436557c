//! The service's gRPC interface, which reports whether payments are possible at all. The
//! orchestrator asks before it accepts an order, because without the provider that order could only
//! wait.

use std::{sync::Arc, time::Duration};

use saga_proto::payment::v1::{
    Availability as Reply, ReadAvailabilityRequest,
    payments_server::{Payments, PaymentsServer},
};
use tonic::{Request, Response, Status};

use crate::{Availability, Provider};

/// Implements the gRPC service with the state of the circuit breaker.
pub struct Surface {
    provider: Arc<Provider>,
}

impl Surface {
    /// Creates the service. It reports the state of this provider's circuit breaker.
    #[must_use]
    pub fn new(provider: Arc<Provider>) -> Self {
        Self { provider }
    }
}

/// Creates the gRPC service for a provider.
pub fn service(provider: Arc<Provider>) -> PaymentsServer<Surface> {
    PaymentsServer::new(Surface::new(provider))
}

#[tonic::async_trait]
impl Payments for Surface {
    async fn read_availability(
        &self,
        _request: Request<ReadAvailabilityRequest>,
    ) -> Result<Response<Reply>, Status> {
        let availability = self.provider.availability();
        let (away, remaining) = match availability {
            // Rounded up, so that the breaker is no longer open after this time.
            Availability::Open { away, remaining } => (away, remaining.as_millis() as i64 + 1),
            Availability::HalfOpen { away } => (away, 0),
            Availability::Closed => (Duration::ZERO, 0),
        };
        Ok(Response::new(Reply {
            breaker: availability.as_str().to_owned(),
            retry_after_millis: remaining,
            away_millis: away.as_millis() as i64,
        }))
    }
}
