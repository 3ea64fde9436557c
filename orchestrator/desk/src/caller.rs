//! The caller of a call. It is determined before anything else reads the call.

use saga_core::Instance;
use tonic::{Request, Status, metadata::MetadataMap};

use crate::status;

/// The caller: the scope of idempotency keys, and the owner of sagas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(String);

impl Caller {
    /// The only place that derives the caller from a call's metadata.
    ///
    /// Tokens are not read yet, so everybody is `anonymous`. A call with a token is refused, so
    /// that nobody is mistaken for somebody other than they expect.
    fn identify(metadata: &MetadataMap) -> Result<Self, Status> {
        if metadata.contains_key("authorization") {
            return Err(status::unauthenticated(
                "tokens are not supported yet: call without `authorization`",
            ));
        }
        Ok(Self("anonymous".to_owned()))
    }

    /// The caller of a call to a service of this server.
    ///
    /// # Errors
    /// INTERNAL, for a service that was added past [`Server::with`](crate::Server::with).
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        // A service that was added without the interceptor must not answer.
        request.extensions().get().cloned().ok_or_else(|| status::internal("nobody was identified"))
    }

    /// True if this saga is the caller's. To other callers it does not exist.
    #[must_use]
    pub fn owns(&self, saga: &Instance) -> bool {
        self.0 == saga.caller
    }

    /// The form in which keys and sagas store it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Determines the caller of every call of a service.
pub(crate) fn intercept(mut request: Request<()>) -> Result<Request<()>, Status> {
    let caller = Caller::identify(request.metadata())?;
    request.extensions_mut().insert(caller);
    Ok(request)
}
