//! The types of identities.

use std::{collections::BTreeSet, fmt, net::SocketAddr};

/// Maximum number of bytes of a subject.
pub const MAX_SUBJECT_BYTES: usize = 255;
/// Maximum number of bytes of a tenant's or a role's name.
const MAX_NAME_BYTES: usize = 64;
/// Maximum number of roles of a principal. Further ones are ignored.
pub const MAX_ROLES: usize = 32;

/// A caller whose identity is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The person or program, as the issuer or the certificate names it. See [`is_subject`].
    pub subject: String,
    /// The owner of everything that the principal creates.
    pub tenant: Tenant,
    /// The roles, which decide on the methods that the principal may call.
    pub roles: Roles,
    /// How the principal was identified.
    pub how: How,
    /// The other end of the connection.
    pub from: Peer,
}

impl Principal {
    /// Returns the name under which histories keep what the principal did: the subject, and in
    /// brackets who vouches for it.
    #[must_use]
    pub fn signature(&self) -> String {
        let Self { subject, how, .. } = self;
        match how {
            How::Token { issuer, .. } => format!("{subject} ({issuer})"),
            How::Certificate { .. } => format!("{subject} (certificate)"),
            How::Peer { .. } => format!("{subject} (local)"),
            How::Anonymous => subject.clone(),
        }
    }

    /// Returns true if the principal has the role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.has(role)
    }
}

/// The way in which a principal was identified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// By a token.
    Token {
        /// The alias of the issuer.
        issuer: String,
        /// The token's id, if it has one.
        jti: Option<String>,
        /// When the token expires, in seconds since 1970-01-01 UTC.
        expires: u64,
    },
    /// By the certificate of a TLS client.
    Certificate {
        /// The only URI among the certificate's alternative names.
        uri: String,
        /// The certificate's serial number, in hexadecimal digits.
        serial: String,
        /// When the certificate expires, in seconds since 1970-01-01 UTC.
        expires: u64,
    },
    /// By the operating system, at the other end of a Unix socket.
    Peer {
        /// The user's id.
        uid: u32,
    },
    /// Not at all.
    Anonymous,
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP connection from this address.
    Tcp(SocketAddr),
    /// A Unix socket, opened by a process of this user.
    Unix {
        /// The user's id, as the operating system states it.
        uid: u32,
    },
}

impl Peer {
    /// Returns true if the other end is on the same machine.
    #[must_use]
    pub fn is_here(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix { .. } => true,
        }
    }
}

/// A tenant: 1 to 64 of `a-z`, `0-9` and `-`. Sagas, keys and rows belong to tenants.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(String);

impl Tenant {
    /// The tenant of callers on the same machine. No token or certificate can name it.
    pub const LOCAL: &'static str = "local";
    /// The text that rows store for [`Self::LOCAL`]. Rows from before there were tenants have it,
    /// so they belong to the callers on the same machine.
    pub const STORED_LOCAL: &'static str = "anonymous";

    /// Returns the tenant of callers on the same machine.
    #[must_use]
    pub fn local() -> Self {
        Self(Self::LOCAL.to_owned())
    }

    /// Parses a tenant's name from a token or from a list of identities. Returns `None` for names
    /// that are not valid, or that are reserved for callers on the same machine.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let reserved = [Self::LOCAL, Self::STORED_LOCAL].contains(&name);
        (is_name(name, "-") && !reserved).then(|| Self(name.to_owned()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text by which keys, sagas and rows store the tenant. The prefix keeps it apart
    /// from [`Self::STORED_LOCAL`].
    #[must_use]
    pub fn stored(&self) -> String {
        match self.0.as_str() {
            Self::LOCAL => Self::STORED_LOCAL.to_owned(),
            name => format!("t:{name}"),
        }
    }
}

/// The name of a role: 1 to 64 of `a-z`, `0-9`, `-`, `.` and `:`. A service may have roles of its
/// own. A role that no method asks for gives no rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Role(pub &'static str);

/// Begins sagas, and reads and cancels those of its own tenant.
pub const CLIENT: Role = Role("client");
/// Looks at every saga and at the quarantine.
pub const VIEW: Role = Role("view");
/// Intervenes in sagas and handles quarantined messages. It implies [`VIEW`].
pub const ACT: Role = Role("act");
/// Approves what another person with [`ACT`] asks for.
pub const APPROVE: Role = Role("approve");
/// Reads everything that operators may read, and changes nothing.
pub const AUDITOR: Role = Role("auditor");

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A set of roles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles(BTreeSet<String>);

impl Roles {
    /// Returns the set of these roles. Names that are not valid are ignored, and so is what exceeds
    /// [`MAX_ROLES`].
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let valid = names.into_iter().filter(|name| is_name(name, "-.:"));
        Self(valid.take(MAX_ROLES).map(str::to_owned).collect())
    }

    /// Returns true if the set has the role, or another one that implies it.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(role.0) || (role == VIEW && self.0.contains(ACT.0))
    }

    /// Returns the names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        Self(roles.into_iter().map(|role| role.0.to_owned()).collect())
    }
}

fn is_name(text: &str, also: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || also.contains(c);
    (1..=MAX_NAME_BYTES).contains(&text.len()) && text.chars().all(allowed)
}

/// Returns true if a text can be a subject: 1 to 255 bytes, without control characters, and
/// without the characters that change the direction of text or cannot be seen.
#[must_use]
pub fn is_subject(text: &str) -> bool {
    let unseen = |c: char| {
        matches!(c,
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    (1..=MAX_SUBJECT_BYTES).contains(&text.len())
        && !text.chars().any(|c| c.is_control() || unseen(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_a_plain_name_and_none_is_reserved() {
        for name in ["web", "a", "shop-2", &"x".repeat(64)] {
            assert_eq!(Tenant::named(name).expect(name).stored(), format!("t:{name}"));
        }
        for name in
            ["", "../x", "t:x", "anonymous", "local", "Web", "a b", "é", "a_b", &"x".repeat(65)]
        {
            assert_eq!(Tenant::named(name), None, "{name:?}");
        }
        assert_eq!(Tenant::local().stored(), "anonymous");
    }

    #[test]
    fn a_subject_is_printable_and_shows_itself() {
        for subject in ["alice", "Zoë", "a@b.example", "spiffe://x/y", &"x".repeat(255)] {
            assert!(is_subject(subject), "{subject}");
        }
        for subject in
            ["", "a\nb", "a\0", "a\u{202e}b", "\u{200b}", "\u{2066}a", &"x".repeat(256), "\u{85}"]
        {
            assert!(!is_subject(subject), "{subject:?}");
        }
    }

    #[test]
    fn acting_implies_viewing_and_nothing_else_is_implied() {
        let all = [CLIENT, VIEW, ACT, APPROVE, AUDITOR];
        for has in all {
            let roles: Roles = [has].into_iter().collect();
            for asked in all {
                let implied = has == asked || (has, asked) == (ACT, VIEW);
                assert_eq!(roles.has(asked), implied, "{has} {asked}");
            }
        }
    }

    #[test]
    fn names_that_no_role_can_have_are_ignored() {
        let roles = Roles::named(["act", "ACT ", "", "stock.price", "participant:a", "a/b"]);
        assert_eq!(roles.names().collect::<Vec<_>>(), ["act", "participant:a", "stock.price"]);
        let many: Vec<String> = (0..100).map(|n| format!("r{n}")).collect();
        assert_eq!(Roles::named(many.iter().map(String::as_str)).names().count(), MAX_ROLES);
    }

    #[test]
    fn only_this_machine_is_here() {
        let is_here = |text: &str| Peer::Tcp(text.parse().expect("an address")).is_here();
        for here in ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in ["10.0.0.1:1", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1", "0.0.0.0:1"] {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
        assert!(Peer::Unix { uid: 0 }.is_here());
    }
}
