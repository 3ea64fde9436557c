//! Reads which users of the broker the roles have.

use saga_messaging::ORCHESTRATOR;
use saga_rabbitmq::Users;

use super::Environment;
use crate::roles::PARTICIPANTS;

impl Environment<'_> {
    /// Reads the prefix of the broker's names, and its users.
    pub(crate) fn broker_names(&mut self) -> (String, Users) {
        (self.prefix(), self.broker_users("SAGA_BROKER_USERS").unwrap_or_default())
    }

    /// Reads which users of the broker the roles have: `shared`, `names`, or pairs of role and user.
    pub(super) fn broker_users(&mut self, name: &'static str) -> Option<Users> {
        let text = self.text(name, "shared");
        match text.as_str() {
            "shared" => return None,
            "names" => return Some(Users::default()),
            _ => {}
        }
        let pairs: Option<Vec<(String, String)>> = text
            .split(',')
            .map(|pair| {
                let (role, user) = pair.split_once('=')?;
                let known = role == ORCHESTRATOR || PARTICIPANTS.contains(&role);
                (known && !user.is_empty()).then(|| (role.to_owned(), user.to_owned()))
            })
            .collect();
        if pairs.is_none() {
            self.wrong(name, "must be shared, names, or pairs like order=user,payment=user");
        }
        pairs.map(Users::named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read;

    fn users(text: Option<&str>) -> Result<Option<Users>, String> {
        let get = |_: &str| text.map(str::to_owned);
        read(&get, |env| env.broker_users("USERS")).map_err(|mistakes| mistakes.to_string())
    }

    #[test]
    fn the_users_are_shared_or_named_like_the_roles_or_listed() {
        assert_eq!(users(None), Ok(None));
        assert_eq!(users(Some("names")), Ok(Some(Users::default())));
        let listed = users(Some("order=a,orchestrator=b")).expect("sound").expect("some");
        assert_eq!([listed.of("order"), listed.of("orchestrator")], ["a", "b"]);
        assert_eq!(listed.of("payment"), "payment");
    }

    #[test]
    fn a_role_that_is_none_and_a_user_without_a_name_are_mistakes() {
        for text in ["yes", "order", "order=", "=a", "orders=a", "order=a,", "order=a,,payment=b"] {
            assert!(users(Some(text)).expect_err(text).contains("USERS"), "{text}");
        }
    }
}
