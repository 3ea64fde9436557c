//! What each of the broker's users may do. The table is derived from the names of exchanges and
//! queues, so that `deploy/rabbitmq/definitions.json` cannot grant more than the roles need.

mod compare;

pub(crate) use compare::{Doctor, doctor};

use saga_messaging::ORCHESTRATOR;
use saga_rabbitmq::Users;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::roles::{EVENTS, PARTICIPANTS};

/// The virtual host of the deployment.
const VHOST: &str = "/";
/// Matches nothing.
const NOTHING: &str = "^$";
/// The queues that the broker names, for hints.
const UNNAMED: &str = r"amq\.gen-.*";
/// Number of times that a message may come back in the quarantine's queue. RabbitMQ 4.x would
/// otherwise drop it after 20 times.
const QUARANTINE_RETURNS: u64 = 1_000_000;
/// Number of bytes that may wait in one of the sagas' queues. Beyond it the broker refuses messages,
/// and whoever published them keeps them.
const QUEUE_BYTES: u64 = 1 << 30;

/// The permissions of one user. Each is a regular expression over names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Permission {
    user: String,
    vhost: String,
    configure: String,
    write: String,
    read: String,
}

/// The routing keys that one user may publish to, and bind at, a topic exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TopicPermission {
    user: String,
    vhost: String,
    exchange: String,
    write: String,
    read: String,
}

/// The permissions of all users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) permissions: Vec<Permission>,
    pub(crate) topics: Vec<TopicPermission>,
    prefix: String,
}

impl Table {
    /// Derives the table of a deployment with this prefix and these users.
    pub(crate) fn of(prefix: &str, users: &Users) -> Self {
        let escaped = prefix.replace('.', r"\.");
        let named = |names: &[&str]| {
            let full = |name: &&str| match *name {
                UNNAMED => UNNAMED.to_owned(),
                name => format!("{escaped}{}", name.replace('.', r"\.")),
            };
            format!("^({})$", names.iter().map(full).collect::<Vec<_>>().join("|"))
        };
        let permission = |user: &str, configure: String, write: String, read: String| {
            let (user, vhost) = (user.to_owned(), VHOST.to_owned());
            Permission { user, vhost, configure, write, read }
        };
        let topic = |user: &str, write: &str, read: &str| TopicPermission {
            user: user.to_owned(),
            vhost: VHOST.to_owned(),
            exchange: format!("{prefix}{EVENTS}"),
            write: write.to_owned(),
            read: read.to_owned(),
        };
        let none = || NOTHING.to_owned();
        let ours = format!(r"^{escaped}(saga|shop)\..*$");
        let orchestrator = users.of(ORCHESTRATOR);
        let mut permissions = vec![
            permission("setup", ours.clone(), ours.clone(), ours),
            permission(
                orchestrator,
                named(&["saga.hints", UNNAMED]),
                named(&[
                    "saga.commands",
                    "saga.replies",
                    "saga.quarantine.orchestrator",
                    EVENTS,
                    "saga.hints",
                    UNNAMED,
                ]),
                named(&["saga.replies", "saga.quarantine", "saga.hints", UNNAMED]),
            ),
        ];
        let mut topics = vec![topic(orchestrator, r"^saga\.[a-z]+$", NOTHING)];
        for participant in PARTICIPANTS {
            let user = users.of(participant);
            let own = |kind: &str| format!("saga.{kind}.{participant}");
            let (again, replies, quarantine) = (own("again"), own("replies"), own("quarantine"));
            let write = named(&[&again, &replies, &quarantine, EVENTS]);
            permissions.push(permission(user, none(), write, named(&[&own("commands")])));
            topics.push(topic(user, &format!(r"^{}\.[a-z_]+$", events_of(participant)), NOTHING));
        }
        let consumers = r"consumer\..*";
        permissions.push(permission(
            "consumer",
            format!("^({consumers}|{UNNAMED})$"),
            format!("^({consumers}|{UNNAMED})$"),
            format!(r"^({escaped}{}|{consumers}|{UNNAMED})$", EVENTS.replace('.', r"\.")),
        ));
        topics.push(topic("consumer", NOTHING, ".*"));
        permissions.push(permission("viewer", none(), none(), none()));
        Self { permissions, topics, prefix: prefix.to_owned() }
    }

    /// Returns the definitions that RabbitMQ imports: permissions and bounds, but no users, since
    /// their passwords are nobody else's business.
    pub(crate) fn definitions(&self) -> Value {
        let escaped = self.prefix.replace('.', r"\.");
        let policy = |name: &str, pattern: String, definition: Value| {
            json!({
                "vhost": VHOST, "name": name, "pattern": pattern, "apply-to": "queues",
                "priority": 0, "definition": definition,
            })
        };
        json!({
            "permissions": self.permissions,
            "topic_permissions": self.topics,
            "policies": [
                policy("consumers", r"^consumer\.".to_owned(), json!({
                    "max-length-bytes": QUEUE_BYTES, "overflow": "drop-head",
                })),
                policy("sagas", format!(r"^{escaped}saga\.(commands\..*|replies)$"), json!({
                    "max-length-bytes": QUEUE_BYTES,
                })),
                policy("quarantine", format!(r"^{escaped}saga\.quarantine$"), json!({
                    "delivery-limit": QUARANTINE_RETURNS,
                    "max-length-bytes": QUEUE_BYTES, "overflow": "reject-publish",
                })),
            ],
        })
    }
}

/// Returns the first word of the keys of a participant's events.
fn events_of(participant: &str) -> &str {
    match participant {
        "inventory" => "stock",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definitions that docker-compose.yml uses.
    const DEPLOYED: &str = include_str!("../../deploy/rabbitmq/definitions.json");

    #[test]
    fn the_deployed_definitions_are_what_the_table_gives() {
        let deployed: Value = serde_json::from_str(DEPLOYED).expect("JSON");
        let derived = Table::of("", &Users::default()).definitions();
        for section in ["permissions", "topic_permissions", "policies"] {
            let text = serde_json::to_string_pretty(&derived[section]).expect("JSON");
            assert_eq!(deployed[section], derived[section], "{section} should be: {text}");
        }
    }

    #[test]
    fn the_deployed_users_have_nothing_but_the_tables_permissions() {
        assert_eq!(compare::differences(DEPLOYED, &Table::of("", &Users::default())), Ok(vec![]));
    }

    #[test]
    fn a_prefix_is_part_of_each_name_and_no_wild_card() {
        let table = Table::of("a.", &Users::named([("order".to_owned(), "svc".to_owned())]));
        let order = table.permissions.iter().find(|one| one.user == "svc").expect("it is there");
        assert_eq!(order.read, r"^(a\.saga\.commands\.order)$");
        assert!(order.write.contains(r"a\.saga\.replies\.order"), "{}", order.write);
        assert!(table.permissions.iter().all(|one| one.user != "order"));
    }
}
