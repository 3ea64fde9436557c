//! Identifies the caller of each call, before any other code handles the call.

use std::sync::Arc;

use saga_core::Instance;
use saga_identity::{How, Peer, Principal, Role, Roles, Tenant};
use tonic::{Request, Status, codegen::http::HeaderMap};

use crate::{metadata, status};

/// The caller of a call. Idempotency keys are scoped by the caller's tenant, and sagas are owned by
/// tenants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    principal: Arc<Principal>,
    /// [`Tenant::stored`] of the principal's tenant.
    stored: Arc<str>,
}

impl Caller {
    /// Derives the caller from a call's headers and its connection. No other function does that.
    ///
    /// Tokens are not supported yet. A call with a token is refused: its sender expects to be
    /// identified, and must not be treated as `anonymous`.
    pub(crate) fn identify(
        headers: &HeaderMap,
        from: Option<Peer>,
        roles: &Anonymous,
    ) -> Result<Self, Status> {
        if headers.contains_key("authorization") {
            return Err(status::unauthenticated(
                "tokens are not supported yet: call without `authorization`",
            ));
        }
        let from =
            from.ok_or_else(|| status::internal("nobody knows where the call comes from"))?;
        // Through a proxy on this machine, every caller would appear to be on this machine.
        let is_here = from.is_here() && !metadata::was_forwarded(headers);
        Ok(Self::from(Principal {
            subject: Tenant::STORED_LOCAL.to_owned(),
            tenant: Tenant::local(),
            roles: if is_here { roles.here.clone() } else { roles.elsewhere.clone() },
            how: How::Anonymous,
            from,
        }))
    }

    /// Returns the caller of a call to a service of this server.
    ///
    /// # Errors
    /// INTERNAL, for a service that was not added by [`Server::with`](crate::Server::with).
    pub fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        // A service that was added without the gate must not answer.
        request.extensions().get().cloned().ok_or_else(|| status::internal("nobody was identified"))
    }

    /// Checks that the caller has a role which this request needs, in addition to the roles that
    /// its method needs.
    ///
    /// # Errors
    /// PERMISSION_DENIED.
    pub fn must(&self, role: Role) -> Result<(), Status> {
        if self.principal.has(role) { Ok(()) } else { Err(status::role_missing(&[role])) }
    }

    /// Returns the caller's identity.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// Returns the name under which histories keep what the caller did.
    #[must_use]
    pub fn signature(&self) -> String {
        self.principal.signature()
    }

    /// Returns true if the saga belongs to this caller. For other callers it does not exist.
    #[must_use]
    pub fn owns(&self, saga: &Instance) -> bool {
        *self.stored == saga.caller
    }

    /// Returns the text by which keys and sagas store the caller's tenant.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.stored
    }
}

impl From<Principal> for Caller {
    fn from(principal: Principal) -> Self {
        let stored = principal.tenant.stored().into();
        Self { principal: Arc::new(principal), stored }
    }
}

/// The roles of callers without credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anonymous {
    /// For calls from the same machine that no proxy has forwarded.
    pub here: Roles,
    /// For all other calls.
    pub elsewhere: Roles,
}

#[cfg(test)]
mod tests {
    use saga_identity::{ACT, CLIENT};

    use super::*;

    fn identify(headers: &[(&'static str, &'static str)], from: &str) -> Result<Caller, Status> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
        let roles = Anonymous {
            here: [CLIENT, ACT].into_iter().collect(),
            elsewhere: [CLIENT].into_iter().collect(),
        };
        let from = Peer::Tcp(from.parse().expect("an address"));
        Caller::identify(&headers.collect(), Some(from), &roles)
    }

    #[test]
    fn only_a_call_from_this_machine_without_a_proxy_has_the_roles_of_this_machine() {
        let acts = |headers: &[_], from| identify(headers, from).expect("known").must(ACT).is_ok();
        assert!(acts(&[], "127.0.0.1:1"));
        assert!(acts(&[], "[::ffff:127.0.0.1]:1"));
        assert!(!acts(&[], "10.0.0.1:1"));
        assert!(!acts(&[("x-forwarded-for", "127.0.0.1")], "127.0.0.1:1"));
        // A header never makes a stranger local.
        assert!(!acts(&[("x-forwarded-for", "127.0.0.1")], "10.0.0.1:1"));
        assert!(!acts(&[("forwarded", "for=127.0.0.1")], "[2001:db8::1]:1"));
    }

    #[test]
    fn a_token_that_cannot_be_verified_is_refused() {
        let refused = identify(&[("authorization", "Bearer x")], "127.0.0.1:1").expect_err("it is");
        assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    }

    #[test]
    fn a_connection_from_nowhere_is_refused() {
        let refused = Caller::identify(&HeaderMap::new(), None, &Anonymous::default());
        assert_eq!(refused.expect_err("it is").code(), tonic::Code::Internal);
    }
}
