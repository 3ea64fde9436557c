//! The reasons why there is no connection, and what to do about each.

use std::time::Duration;

use lapin::{
    ErrorKind,
    protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError},
};

/// The reason why there is no connection. [`ConnectError::Unreachable`] may be temporary; all other
/// errors stay until their cause is corrected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is malformed: correct the setting.
    #[error("the broker's URL is not of the form amqp://user:password@host:port/vhost: {0}")]
    Url(String),
    /// The URL asks for TLS: correct the setting.
    #[error(
        "the broker's URL asks for amqps, but this program was built without TLS: use amqp, on a network that keeps strangers out"
    )]
    TlsNotBuilt,
    /// A name is too long for AMQP: choose a shorter prefix.
    #[error("the name {0:?} is longer than the 255 bytes that AMQP allows: shorten the prefix")]
    NameTooLong(String),
    /// A participant has the orchestrators' name: choose another one.
    #[error("no participant may be called \"orchestrator\": that is the orchestrators' own name")]
    ReservedName,
    /// The broker refuses the login: correct the user or the password.
    #[error("the broker at {broker} refuses the login of {user:?}: check user and password")]
    LoginRefused {
        /// The broker's host and port.
        broker: String,
        /// The user that was refused.
        user: String,
    },
    /// The broker refuses the virtual host: correct its name, or grant access to it.
    #[error("the broker at {broker} refuses the virtual host {vhost:?}: {reason}")]
    VirtualHostRefused {
        /// The broker's host and port.
        broker: String,
        /// The virtual host that was asked for.
        vhost: String,
        /// The broker's text.
        reason: String,
    },
    /// The broker refuses a declaration: grant the permission.
    #[error("{user:?} may not declare {name:?}; grant it the permission to configure: {reason}")]
    Forbidden {
        /// The user that was refused.
        user: String,
        /// Name of the exchange or queue.
        name: String,
        /// The broker's text.
        reason: String,
    },
    /// An exchange or queue is missing, and this adapter is configured not to declare it: run
    /// `saga setup`.
    #[error("{name:?} is not there, and this process may not declare it: run `saga setup`")]
    Missing {
        /// Name of the exchange or queue.
        name: String,
    },
    /// A queue or exchange has other arguments: delete it once nothing needs it, or use another
    /// prefix.
    #[error(
        "{name:?} is already declared with other arguments; once it is empty, delete it \
         (rabbitmqctl delete_queue), or set another prefix: {reason}"
    )]
    DeclaredDifferently {
        /// Name of the exchange or queue.
        name: String,
        /// The broker's text.
        reason: String,
    },
    /// The broker could not be reached: try again later.
    #[error("no broker at {broker} within {patience:?}: {reason}")]
    Unreachable {
        /// The broker's host and port.
        broker: String,
        /// Time spent trying.
        patience: Duration,
        /// The last failure.
        reason: String,
    },
}

/// The reason why a connection, or an operation on it, failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{what} took longer than {limit:?}")]
    Silent { what: &'static str, limit: Duration },
    #[error(transparent)]
    Broker(#[from] lapin::Error),
    #[error(transparent)]
    Network(#[from] std::io::Error),
    #[error("declaring {name:?}: {error}")]
    Declaring { name: String, error: lapin::Error },
    #[error("the broker cancelled the consumer: its queue was deleted or moved")]
    Cancelled,
    #[error("{0}")]
    Ended(&'static str),
}

impl Failure {
    /// Returns the error to report, if trying again cannot help. Returns `None` for any other
    /// failure.
    pub(crate) fn for_good(&self, address: &lapin::uri::AMQPUri) -> Option<ConnectError> {
        let user = address.authority.userinfo.username.clone();
        let broker = broker(address);
        match self {
            Self::Declaring { name, error } => {
                let (name, error) = (name.clone(), amqp(error)?);
                let reason = error.get_message().to_string();
                match error.kind() {
                    AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
                        Some(ConnectError::DeclaredDifferently { name, reason })
                    }
                    AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
                        Some(ConnectError::Forbidden { user, name, reason })
                    }
                    AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => {
                        Some(ConnectError::Missing { name })
                    }
                    AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => None,
                }
            }
            Self::Broker(error) => {
                let error = amqp(error)?;
                match error.kind() {
                    AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
                        Some(ConnectError::LoginRefused { broker, user })
                    }
                    AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => {
                        Some(ConnectError::VirtualHostRefused {
                            broker,
                            vhost: address.vhost.clone(),
                            reason: error.get_message().to_string(),
                        })
                    }
                    AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => None,
                }
            }
            Self::Silent { .. } | Self::Network(_) | Self::Cancelled | Self::Ended(_) => None,
        }
    }
}

/// Returns host and port, without the login.
pub(crate) fn broker(address: &lapin::uri::AMQPUri) -> String {
    format!("{}:{}", address.authority.host, address.authority.port)
}

fn amqp(error: &lapin::Error) -> Option<&AMQPError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error),
        // lapin's enum is not exhaustive: every other kind is about the connection.
        _ => None,
    }
}
