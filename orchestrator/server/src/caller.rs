//! Who calls. Every call passes here before anything else looks at it.

use saga_core::Instance;
use tonic::{Request, Status, metadata::MetadataMap};

use crate::status;

/// Who calls: the scope of idempotency keys, and the owner of sagas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(String);

impl Caller {
    /// The one place where a caller is told from a call's metadata.
    ///
    /// Tokens are not read yet, so everybody is `anonymous`. Whoever sends one is
    /// refused rather than taken for somebody else than they think they are.
    fn identify(metadata: &MetadataMap) -> Result<Self, Status> {
        if metadata.contains_key("authorization") {
            return Err(status::unauthenticated(
                "tokens are not supported yet: call without `authorization`",
            ));
        }
        Ok(Self("anonymous".to_owned()))
    }

    /// The caller that [`intercept`] has found.
    pub(crate) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        // A service that was added without the interceptor must not answer.
        request.extensions().get().cloned().ok_or_else(|| status::internal("nobody was identified"))
    }

    /// Whether this saga is the caller's. To others it does not exist.
    pub(crate) fn owns(&self, saga: &Instance) -> bool {
        self.0 == saga.caller
    }

    /// As it stands in keys and sagas.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Finds the caller of every call of a service.
pub(crate) fn intercept(mut request: Request<()>) -> Result<Request<()>, Status> {
    let caller = Caller::identify(request.metadata())?;
    request.extensions_mut().insert(caller);
    Ok(request)
}
