//! Settings of an adapter.

use std::{fmt, time::Duration};

use lapin::uri::AMQPUri;

use crate::{ConnectError, Users};

/// Seconds between heartbeats, in both directions. A peer that is silent for twice as long counts
/// as gone.
const HEARTBEAT_SECONDS: u16 = 10;
/// Largest frame. lapin reserves room for 64 frames in each connection. With the broker's default
/// of 128 KiB that would be 8 MiB a connection, and a process with every role has a dozen
/// connections. Larger messages travel in several frames.
const FRAME_BYTES: u32 = 32 * 1024;

/// The smallest value for the largest frame that AMQP allows a client to ask for.
const LEAST_FRAME_BYTES: u32 = 4 * 1024;

/// Settings of an adapter. Start from [`Settings::new`].
#[derive(Clone)]
pub struct Settings {
    /// The broker's URL, `amqp://user:password@host:port/vhost`. It is never printed.
    pub url: String,
    /// Prefix for the names of all exchanges and queues. Two deployments on one virtual host need
    /// different prefixes.
    pub prefix: String,
    /// Name that the broker shows for the adapter's connections, such as `saga orchestrator`.
    pub name: String,
    /// Routing key of the replies to this deployment's orchestrators.
    pub deployment: String,
    /// Name of the topic exchange for domain events, without the prefix.
    pub events: String,
    /// The participants whose command queues are declared.
    pub participants: Vec<String>,
    /// True if this adapter declares exchanges and queues. Otherwise it only checks that they
    /// exist, which needs no permission at the broker. [`crate::RabbitMq::setup`] always declares.
    pub declares: bool,
    /// True if this adapter exchanges hints with the orchestrators. Participants have no use for
    /// them.
    pub hints: bool,
    /// The broker's users whose messages count, if each party has a user of its own. Then this
    /// adapter names its own user in what it publishes, which the broker checks. `None` if several
    /// parties share a user.
    pub users: Option<Users>,
    /// Number of redeliveries before a message goes to the quarantine.
    pub delivery_limit: u32,
    /// Time limit for progress: in it, at least one message of a call must be sent or confirmed.
    pub publish_timeout: Duration,
    /// Time limit for one attempt to connect.
    pub connect_timeout: Duration,
    /// Longest time that [`crate::RabbitMq::connect`] waits for a broker that is away.
    pub patience: Duration,
}

impl Settings {
    /// Creates settings with the defaults: no prefix, no participants, declaring, 10 redeliveries,
    /// 5 s for publishing, 5 s for connecting, a minute of patience.
    #[must_use]
    pub fn new(url: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            prefix: String::new(),
            name: name.into(),
            deployment: "orchestrator".to_owned(),
            events: "saga.events".to_owned(),
            participants: Vec::new(),
            declares: true,
            hints: true,
            users: None,
            delivery_limit: 10,
            publish_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            patience: Duration::from_secs(60),
        }
    }

    /// Checks a URL without connecting, and refuses one that can never work.
    ///
    /// # Errors
    /// [`ConnectError::Url`] and [`ConnectError::TlsNotBuilt`]; neither contains the URL.
    pub fn check_url(url: &str) -> Result<(), ConnectError> {
        Self::new(url, "").address().map(drop)
    }

    /// Parses the broker's address, with the login.
    pub(crate) fn address(&self) -> Result<AMQPUri, ConnectError> {
        if self.url.starts_with("amqps:") {
            return Err(ConnectError::TlsNotBuilt);
        }
        let mut address: AMQPUri = self.url.parse().map_err(|reason: String| {
            // One of the parser's texts contains the URL, and with it the password.
            let tells_the_url = reason.contains(&self.url);
            ConnectError::Url(if tells_the_url { "it has no host".to_owned() } else { reason })
        })?;
        if self.url.contains("@[") || self.url.contains("//[") {
            // Otherwise the parser would silently read the address as localhost.
            return Err(ConnectError::Url("an IPv6 address needs a host name".to_owned()));
        }
        address.query.heartbeat = Some(HEARTBEAT_SECONDS);
        let frame_max = address.query.frame_max.filter(|bytes| *bytes >= LEAST_FRAME_BYTES);
        address.query.frame_max = Some(frame_max.unwrap_or(FRAME_BYTES));
        Ok(address)
    }
}

/// Returns the size of the largest frame that a connection to this address accepts.
pub(crate) fn frame_max(address: &AMQPUri) -> usize {
    let bytes = address.query.frame_max.unwrap_or(FRAME_BYTES);
    usize::try_from(bytes).expect("as large as an address")
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", &"(redacted)")
            .field("prefix", &self.prefix)
            .field("name", &self.name)
            .field("deployment", &self.deployment)
            .field("events", &self.events)
            .field("participants", &self.participants)
            .field("declares", &self.declares)
            .field("hints", &self.hints)
            .field("users", &self.users)
            .field("delivery_limit", &self.delivery_limit)
            .field("publish_timeout", &self.publish_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("patience", &self.patience)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> String {
        Settings::new(url, "test").address().expect_err("a bad URL").to_string()
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_showing_its_password() {
        for url in [
            "amqp:guest:s3cret",
            "amqp://guest:s3cret@host:99999/",
            "http://guest:s3cret@host/",
            "guest:s3cret@host",
            "amqp://guest:s3cret@[::1]/",
            "amqp://guest:s3cret@host/?heartbeat=often",
            "",
        ] {
            let refusal = refusal(url);
            assert!(refusal.contains("broker's URL"), "{refusal}");
            assert!(!refusal.contains("s3cret"), "{refusal}");
        }
    }

    #[test]
    fn tls_is_refused_with_the_reason() {
        assert!(refusal("amqps://host/").contains("without TLS"));
    }

    #[test]
    fn settings_do_not_show_their_url() {
        let shown = format!("{:?}", Settings::new("amqp://guest:s3cret@host/", "test"));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
