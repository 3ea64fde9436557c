//! The servers that ordinary tests share.

use std::fmt::Display;
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, bail};

use crate::ports::random;
use crate::{Postgres, RabbitMq, installed};

/// Variable with the URL of a running server's database `postgres`, for a superuser.
pub const POSTGRES_URL_VARIABLE: &str = "SAGA_TEST_POSTGRES_URL";
/// Variable with the URL of a running broker's virtual host, for a user with all permissions.
pub const AMQP_URL_VARIABLE: &str = "SAGA_TEST_AMQP_URL";

/// Longest hint in a name. PostgreSQL truncates longer names without an error.
const LONGEST_HINT: usize = 30;

/// One PostgreSQL and one RabbitMQ for all tests. The environment may name running servers
/// (`with-servers` does so, and `scripts/test` runs all tests under `with-servers`). Otherwise a
/// test process starts each server when a test first needs it.
///
/// A test that stops or kills a server must start its own [`Postgres`] or [`RabbitMq`] instead.
///
/// The methods panic if a server is not available, because a test without its server has failed.
/// Those named `try_…` return an error instead.
#[derive(Debug, Default)]
pub struct Servers {
    postgres: Mutex<Option<Source<Postgres>>>,
    rabbitmq: Mutex<Option<Source<RabbitMq>>>,
}

/// The origin of a server.
#[derive(Debug)]
enum Source<T> {
    /// Another process has started the server at this URL.
    Environment(String),
    /// This process has started the server. It is never dropped: the reaper ends it with this
    /// process.
    Own(T),
}

impl Servers {
    /// Returns the servers of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Servers> = OnceLock::new();
        SHARED.get_or_init(Servers::default)
    }

    /// Returns the URL of the database `postgres`, for the superuser. Tests should use a
    /// [`Self::fresh_database`] instead.
    pub fn postgres_url(&self) -> String {
        self.try_postgres_url().unwrap_or_else(|error| give_up(&error))
    }

    /// Returns the URL of the broker. Tests should give their queues a [`Self::fresh_prefix`].
    pub fn amqp_url(&self) -> String {
        self.try_amqp_url().unwrap_or_else(|error| give_up(&error))
    }

    /// Creates an empty database that no other test uses, and returns its URL. The hint becomes
    /// part of the database's name.
    pub fn fresh_database(&self, hint: &str) -> String {
        let name = format!("t{}_{}", unique(), plain(hint, '_'));
        let postgres = self.postgres_url();
        create_database(&postgres, &name).unwrap_or_else(|error| give_up(&error));
        with_database(&postgres, &name)
    }

    /// Creates a prefix for exchanges and queues that no other test uses, such as
    /// `t3f9a1c27.stock.`.
    pub fn fresh_prefix(&self, hint: &str) -> String {
        format!("t{}.{}.", unique(), plain(hint, '-'))
    }

    /// Like [`Self::postgres_url`], but returns the failure instead of panicking.
    pub fn try_postgres_url(&self) -> anyhow::Result<String> {
        let start = Postgres::start;
        url_of(&self.postgres, POSTGRES_URL_VARIABLE, start, |own| own.url("postgres"))
    }

    /// Like [`Self::amqp_url`], but returns the failure instead of panicking.
    pub fn try_amqp_url(&self) -> anyhow::Result<String> {
        let start = RabbitMq::start;
        url_of(&self.rabbitmq, AMQP_URL_VARIABLE, start, RabbitMq::url)
    }
}

/// Returns the server's URL. The first call finds or starts the server, and other calls wait for
/// it.
fn url_of<T>(
    place: &Mutex<Option<Source<T>>>,
    variable: &str,
    start: impl FnOnce() -> anyhow::Result<T>,
    url: impl FnOnce(&T) -> String,
) -> anyhow::Result<String> {
    let mut place = place.lock().expect("nobody panics while holding it");
    let source = match place.take() {
        Some(source) => source,
        None => match std::env::var(variable) {
            Ok(url) if !url.is_empty() => Source::Environment(url),
            Ok(_) | Err(_) => Source::Own(start()?),
        },
    };
    Ok(match place.insert(source) {
        Source::Environment(url) => url.clone(),
        Source::Own(server) => url(server),
    })
}

fn create_database(postgres: &str, name: &str) -> anyhow::Result<()> {
    let psql = installed::postgres_programs()?.join("psql");
    let output = Command::new(psql)
        .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", postgres])
        .args(["--command", &format!("CREATE DATABASE \"{name}\"")])
        .env("PGCONNECT_TIMEOUT", "20")
        .output()
        .context("cannot run psql: apt-get install postgresql")?;
    if !output.status.success() {
        bail!("cannot make the database {name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Replaces the database in a URL.
pub(crate) fn with_database(url: &str, database: &str) -> String {
    let parts = Parts::of(url);
    format!("{}{}/{database}{}", parts.before, parts.address, parts.options)
}

/// A server's URL, taken apart.
pub(crate) struct Parts<'a> {
    /// The scheme and the user: everything before the address.
    pub(crate) before: &'a str,
    /// The host, and usually the port.
    pub(crate) address: &'a str,
    /// The path, with its slash.
    pub(crate) path: &'a str,
    /// The options, with their question mark.
    pub(crate) options: &'a str,
}

impl<'a> Parts<'a> {
    pub(crate) fn of(url: &'a str) -> Self {
        let (rest, options) = url.split_at(url.find('?').unwrap_or(url.len()));
        let after_scheme = rest.find("://").map_or(0, |at| at + 3);
        let end = rest[after_scheme..].find('/').map_or(rest.len(), |at| after_scheme + at);
        let (rest, path) = rest.split_at(end);
        let (before, address) = rest.split_at(rest.rfind('@').map_or(after_scheme, |at| at + 1));
        Self { before, address, path, options }
    }

    /// Returns the port, if the URL has one.
    pub(crate) fn port(&self) -> Option<u16> {
        self.address.rsplit_once(':')?.1.parse().ok()
    }
}

fn unique() -> String {
    format!("{:08x}", random() >> 32)
}

/// Converts a hint to a short name of lower-case letters, digits and `gap`.
fn plain(hint: &str, gap: char) -> String {
    let lower = hint.chars().take(LONGEST_HINT).map(|letter| letter.to_ascii_lowercase());
    lower.map(|letter| if letter.is_ascii_alphanumeric() { letter } else { gap }).collect()
}

fn give_up<T>(error: &(impl Display + ?Sized)) -> T {
    panic!("a test needs its servers: {error:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_database_keeps_the_rest_of_the_url() {
        for (url, expected) in [
            ("postgres://u@h:5/postgres?sslmode=disable", "postgres://u@h:5/new?sslmode=disable"),
            ("postgres://u:p@h:5/postgres", "postgres://u:p@h:5/new"),
            ("postgres://u@h", "postgres://u@h/new"),
            ("postgres://u@h:5?application_name=a/b", "postgres://u@h:5/new?application_name=a/b"),
        ] {
            assert_eq!(with_database(url, "new"), expected);
        }
    }

    #[test]
    fn a_url_has_a_port_behind_its_host() {
        for (url, port) in [
            ("amqp://guest:p%40ss@127.0.0.1:6000/%2f", Some(6000)),
            ("postgres://u:p@h:5/postgres?sslmode=disable", Some(5)),
            ("postgres://u@h/postgres", None),
        ] {
            assert_eq!(Parts::of(url).port(), port, "{url}");
        }
    }

    #[test]
    fn a_hint_becomes_a_plain_name() {
        assert_eq!(plain("Late Action; is refused", '_'), "late_action__is_refused");
        assert_eq!(plain(&"x".repeat(100), '_').len(), LONGEST_HINT);
    }

    #[test]
    fn two_prefixes_of_one_hint_differ() {
        let servers = Servers::default();
        assert_ne!(servers.fresh_prefix("stock"), servers.fresh_prefix("stock"));
    }
}
