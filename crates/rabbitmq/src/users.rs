//! The users of the broker.

use std::collections::BTreeMap;

/// The broker's users by the names of the parties: `orchestrator`, and the participants.
///
/// The user of a party that is not named here has the party's own name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<String, String>);

impl Users {
    /// Names the users of some parties, as pairs of party and user.
    pub fn named(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// Returns the user of a party.
    #[must_use]
    pub fn of<'a>(&'a self, party: &'a str) -> &'a str {
        self.0.get(party).map_or(party, String::as_str)
    }
}
