//! Forwards calls to other services.

use saga_desk::{RETRY_AFTER, status};
use saga_engine::SagaReads;
use saga_trace::{Kind, Span, current, within};
use std::{error::Error as _, future::Future, time::Duration};
use tonic::{Code, Response, Status};
use tracing::{error, warn};

use crate::front::Front;

impl<R: SagaReads> Front<R> {
    /// Calls [`forward`] with the front door's time limit.
    pub(crate) async fn forward<T>(
        &self,
        service: &'static str,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        forward(service, self.settings.forward_timeout, call).await
    }
}

/// Waits at most `limit` for a service's answer. Errors that the caller caused are returned to the
/// caller as they are. Other errors are reported without the service's internals.
pub(crate) async fn forward<T>(
    service: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    let span = current().map(|here| {
        Span::child(here, Kind::Client, format!("forward {service}")).with("rpc.system", "grpc")
    });
    let call = within(span.as_ref().map(|span| span.context), call);
    let answered = tokio::time::timeout(limit, call).await;
    span.into_iter().for_each(Span::end);
    match answered {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(passed_on(service, &status)),
        Err(_) => {
            warn!(service, "a service did not answer in time");
            Err(away(service))
        }
    }
}

fn passed_on(service: &'static str, from: &Status) -> Status {
    // tonic adds a source only to its own errors, so here the connection failed.
    let on_this_side = from.source().is_some();
    match from.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
            if !on_this_side =>
        {
            Status::with_details(from.code(), from.message(), from.details().to_vec().into())
        }
        Code::ResourceExhausted if !on_this_side => {
            status::overloaded("there is too much to do: call again")
        }
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => {
            warn!(service, code = ?from.code(), "a service is away");
            away(service)
        }
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::ResourceExhausted
        | Code::PermissionDenied
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => {
            if on_this_side {
                warn!(service, code = ?from.code(), "the connection to a service failed");
                return away(service);
            }
            error!(service, code = ?from.code(), "a service failed");
            status::internal(&format!("the {service} service failed"))
        }
    }
}

fn away(service: &str) -> Status {
    status::unavailable(
        &format!("the {service} service does not answer: call again"),
        "SERVICE_AWAY",
        RETRY_AFTER,
    )
}
