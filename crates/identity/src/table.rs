//! The table of methods: who may call which one. A method without a line may be called by nobody.

use std::collections::HashMap;

use crate::{Role, Roles};

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The method's full name, such as `grpc.health.v1.Health/Check`.
    pub method: &'static str,
    /// Who may call it.
    pub who: Who,
}

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody, also without credentials.
    Anybody,
    /// Every principal, whatever its roles.
    AnyPrincipal,
    /// Principals with at least one of these roles. The method's own code may ask for more,
    /// depending on the request.
    OneOf(&'static [Role]),
}

impl Who {
    /// Checks the roles of a principal.
    ///
    /// # Errors
    /// The roles of which the principal needs one.
    pub fn admits(self, roles: &Roles) -> Result<(), &'static [Role]> {
        match self {
            Self::Anybody | Self::AnyPrincipal => Ok(()),
            Self::OneOf(needed) if needed.iter().any(|role| roles.has(*role)) => Ok(()),
            Self::OneOf(needed) => Err(needed),
        }
    }
}

/// All lines of a server.
#[derive(Clone, Debug, Default)]
pub struct Table(HashMap<&'static str, Who>);

impl Table {
    /// Adds lines.
    ///
    /// # Panics
    /// If a method has two lines: which of them holds would be chance.
    #[must_use]
    pub fn with(mut self, lines: &[Line]) -> Self {
        for Line { method, who } in lines {
            let earlier = self.0.insert(method, *who);
            assert!(earlier.is_none(), "{method} has two lines");
        }
        self
    }

    /// Finds the line of a method by the path of a call, which is compared byte by byte. Returns
    /// `None` for every path that is not exactly `/` and a method's full name.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Who> {
        self.0.get(path.strip_prefix('/')?).copied()
    }

    /// Returns the full names of all methods.
    pub fn methods(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ACT, CLIENT, VIEW};

    const LINES: [Line; 2] = [
        Line { method: "a.v1.A/Get", who: Who::OneOf(&[VIEW, CLIENT]) },
        Line { method: "a.v1.A/Check", who: Who::Anybody },
    ];

    #[test]
    fn only_the_exact_path_finds_a_line() {
        let table = Table::default().with(&LINES);
        assert_eq!(table.find("/a.v1.A/Get"), Some(LINES[0].who));
        for path in [
            "a.v1.A/Get",
            "//a.v1.A/Get",
            "/a.v1.A/Get/",
            "/a.v1.a/Get",
            "/a.v1.A/get",
            "/a.v1.A/%47et",
            "/a.v1.A/",
            "/",
            "",
            "/a.v1.A/Get?x",
            "/x/../a.v1.A/Get",
            "/a.v1.A/Get\0",
        ] {
            assert_eq!(table.find(path), None, "{path:?}");
        }
    }

    #[test]
    fn one_of_the_named_roles_is_enough_and_none_is_not() {
        let roles = |roles: &[Role]| roles.iter().copied().collect::<Roles>();
        let who = LINES[0].who;
        assert_eq!(who.admits(&roles(&[CLIENT])), Ok(()));
        assert_eq!(who.admits(&roles(&[ACT])), Ok(()), "who acts may view");
        assert_eq!(who.admits(&roles(&[])), Err(&[VIEW, CLIENT][..]));
        assert_eq!(Who::AnyPrincipal.admits(&roles(&[])), Ok(()));
    }

    #[test]
    #[should_panic(expected = "two lines")]
    fn a_method_has_one_line() {
        let _ = Table::default().with(&LINES).with(&LINES[..1]);
    }
}
