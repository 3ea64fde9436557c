//! Identifies the caller of each call, before any other code handles the call.

use saga_core::Instance;
use tonic::{Request, Status, metadata::MetadataMap};

use crate::status;

/// The caller of a call. Idempotency keys are scoped by caller, and sagas are owned by callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(String);

impl Caller {
    /// Derives the caller from a call's metadata. No other function does that.
    ///
    /// Tokens are not supported yet, so every caller is `anonymous`. A call with a token is
    /// refused: its sender expects to be identified, and must not be treated as `anonymous`.
    fn identify(metadata: &MetadataMap) -> Result<Self, Status> {
        if metadata.contains_key("authorization") {
            return Err(status::unauthenticated(
                "tokens are not supported yet: call without `authorization`",
            ));
        }
        Ok(Self("anonymous".to_owned()))
    }

    /// Returns the caller of a call to a service of this server.
    ///
    /// # Errors
    /// INTERNAL, for a service that was not added by [`Server::with`](crate::Server::with).
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        // A service that was added without the interceptor must not answer.
        request.extensions().get().cloned().ok_or_else(|| status::internal("nobody was identified"))
    }

    /// Returns true if the saga belongs to this caller. For other callers it does not exist.
    #[must_use]
    pub fn owns(&self, saga: &Instance) -> bool {
        self.0 == saga.caller
    }

    /// Returns the text by which keys and sagas store the caller.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Identifies the caller of every call to a service.
pub(crate) fn intercept(mut request: Request<()>) -> Result<Request<()>, Status> {
    let caller = Caller::identify(request.metadata())?;
    request.extensions_mut().insert(caller);
    Ok(request)
}
