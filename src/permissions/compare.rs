//! `saga doctor permissions`: compares the definitions of a broker with the table.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use saga_rabbitmq::Users;
use serde::Deserialize;

use super::{NOTHING, Permission, Table, TopicPermission};

/// Finds what is not as it should be.
#[derive(clap::Args)]
pub(crate) struct Doctor {
    #[command(subcommand)]
    look: Look,
}

#[derive(clap::Subcommand)]
enum Look {
    /// Compare the permissions of the broker's users with those that the roles need
    ///
    /// Names each user that may do more, or less, and each user that nobody needs. The prefix and
    /// the users' names come from SAGA_PREFIX and SAGA_BROKER_USERS. The exit status is 1 if there
    /// is anything to name.
    Permissions {
        /// The broker's definitions, as `rabbitmqctl export_definitions FILE` writes them
        #[arg(value_name = "FILE")]
        definitions: PathBuf,
    },
}

/// The part of a broker's definitions that says who may do what.
#[derive(Deserialize)]
struct Definitions {
    #[serde(default)]
    users: Vec<User>,
    #[serde(default)]
    permissions: Vec<Permission>,
    #[serde(default)]
    topic_permissions: Vec<TopicPermission>,
}

#[derive(Deserialize)]
struct User {
    name: String,
    /// A list, or in older exports a text with commas.
    #[serde(default)]
    tags: serde_json::Value,
}

/// The tags that do no harm: the user may look at the broker's figures.
const HARMLESS: [&str; 1] = ["monitoring"];

/// Runs `saga doctor permissions`.
pub(crate) fn doctor(doctor: &Doctor, prefix: &str, users: &Users) -> anyhow::Result<ExitCode> {
    let Look::Permissions { definitions: file } = &doctor.look;
    let text = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let found = differences(&text, &Table::of(prefix, users))
        .map_err(|why| anyhow::anyhow!("{} holds no definitions: {why}", file.display()))?;
    let mut out = io::stdout().lock();
    for line in &found {
        writeln!(out, "{line}")?;
    }
    if found.is_empty() {
        writeln!(out, "every user of the broker may do what its role needs, and nothing else")?;
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// Returns a line for each difference between a broker's definitions and the table.
pub(super) fn differences(definitions: &str, table: &Table) -> Result<Vec<String>, String> {
    // A list would be read as an object without members.
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(definitions).map_err(|why| why.to_string())?;
    let found = Definitions::deserialize(object).map_err(|why| why.to_string())?;
    let mut lines = Vec::new();
    for user in &found.users {
        let name = &user.name;
        let tags: Vec<&str> = match &user.tags {
            serde_json::Value::Array(tags) => tags.iter().filter_map(|tag| tag.as_str()).collect(),
            serde_json::Value::String(tags) => tags.split(',').collect(),
            _ => Vec::new(),
        };
        for tag in tags.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty()) {
            if !HARMLESS.contains(&tag) {
                lines.push(format!("{name}: has the tag {tag}"));
            }
        }
    }
    for has in &found.permissions {
        let needs =
            table.permissions.iter().find(|n| (&n.user, &n.vhost) == (&has.user, &has.vhost));
        let of = |needs: fn(&Permission) -> &String, by: Option<&Permission>| {
            by.map_or_else(|| NOTHING.to_owned(), |one| needs(one).clone())
        };
        for (right, field) in [
            ("configure", (|one: &Permission| &one.configure) as fn(&Permission) -> &String),
            ("write", |one: &Permission| &one.write),
            ("read", |one: &Permission| &one.read),
        ] {
            compare(&mut lines, &has.user, right, field(has), &of(field, needs));
        }
    }
    for needs in &table.permissions {
        if !found.permissions.iter().any(|has| has.user == needs.user) {
            lines.push(format!("{}: has no permissions", needs.user));
        }
    }
    for needs in &table.topics {
        // Without such an entry, the broker allows every routing key.
        let has = found
            .topic_permissions
            .iter()
            .find(|has| (&has.user, &has.exchange) == (&needs.user, &needs.exchange));
        let write = has.map_or(".*", |has| &has.write);
        let read = has.map_or(".*", |has| &has.read);
        let events = &needs.exchange;
        compare(&mut lines, &needs.user, &format!("write keys of {events}"), write, &needs.write);
        compare(&mut lines, &needs.user, &format!("read keys of {events}"), read, &needs.read);
    }
    Ok(lines)
}

fn compare(lines: &mut Vec<String>, user: &str, right: &str, has: &str, needs: &str) {
    // The broker takes an empty expression for one that matches nothing.
    let has = if has.is_empty() { NOTHING } else { has };
    if has != needs {
        lines.push(format!("{user}: may {right} {has}, and needs {needs}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn table() -> Table {
        Table::of("", &Users::default())
    }

    fn changed(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut definitions = table().definitions();
        change(&mut definitions);
        differences(&definitions.to_string(), &table()).expect("JSON")
    }

    #[test]
    fn each_wider_or_missing_permission_is_named_once() {
        assert_eq!(changed(|_| {}), [""; 0]);
        let wider = changed(|all| all["permissions"][3]["write"] = json!(".*"));
        assert!(wider.len() == 1 && wider[0].starts_with("inventory: may write .*"), "{wider:?}");
        let missing = changed(|all| drop(all["permissions"].as_array_mut().map(|a| a.remove(2))));
        assert_eq!(missing, ["order: has no permissions"]);
        let any_key = changed(|all| all["topic_permissions"] = json!([]));
        assert!(any_key.iter().any(|line| line.contains("payment: may write keys of")));
    }

    #[test]
    fn a_user_that_nobody_needs_and_a_tag_that_gives_power_are_named() {
        let guest =
            json!({"user": "guest", "vhost": "/", "configure": ".*", "write": "", "read": ""});
        let stranger = changed(|all| {
            all["permissions"].as_array_mut().expect("a list").push(guest);
            all["users"] = json!([
                {"name": "guest", "tags": ["administrator"]},
                {"name": "order", "tags": "impersonator,monitoring"},
            ]);
        });
        let needed = "guest: may configure .*, and needs ^$";
        let tags = ["guest: has the tag administrator", "order: has the tag impersonator"];
        assert_eq!(stranger, [tags[0], tags[1], needed]);
    }

    #[test]
    fn what_is_no_definitions_is_an_error() {
        assert!(differences("[]", &table()).is_err());
    }
}
