//! The types of the settings. `reader.rs` reads them from the environment, and `help.rs` has the
//! text of `saga settings`.

mod help;
mod reader;
#[cfg(test)]
mod tests;
mod users;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use saga_core::Hosted;
use saga_identity::Roles;
use saga_payment::BreakerSettings;
use saga_rabbitmq::Users;

use crate::secrets::Secret;

pub(crate) use help::HELP;
pub use reader::{Environment, Mistakes, process, read};

/// Settings for the message broker.
#[derive(Clone, Debug)]
pub struct Broker {
    /// URL of the broker.
    pub url: Secret,
    /// Prefix of the names of exchanges and queues.
    pub prefix: String,
    /// True if roles may declare exchanges and queues; `saga setup` always does.
    pub declares: bool,
    /// The users of the roles, if each has a user of its own.
    pub users: Option<Users>,
}

/// Settings of `saga orchestrator`.
#[derive(Clone, Debug)]
pub(crate) struct Orchestrator {
    pub(crate) database: Secret,
    pub(crate) connections: u32,
    pub(crate) broker: Broker,
    pub(crate) order_url: String,
    pub(crate) inventory_url: String,
    pub(crate) payment_url: String,
    pub(crate) front: Front,
}

/// Settings of an orchestrator's front door, the same for embedded adapters and servers.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    pub(crate) listen: SocketAddr,
    /// The roles of callers without credentials that are not on this machine.
    pub(crate) elsewhere: Roles,
    /// The definitions, and the versions under which new sagas begin.
    pub(crate) hosted: Hosted,
    pub(crate) order_deadline: Duration,
    pub(crate) max_in_flight: u64,
    /// Greatest age of a cached page of products. Zero: each call reads the page anew.
    pub(crate) catalogue_cache: Duration,
    /// How long ended sagas and their keys are kept.
    pub(crate) retention: Duration,
    /// True if a reply counts although nothing proves which participant sent it.
    pub(crate) accepts_unproven_replies: bool,
}

/// Settings of `saga prune`.
#[derive(Clone, Debug)]
pub(crate) struct Prune {
    pub(crate) database: Secret,
    pub(crate) retention: Duration,
}

/// Settings of a participant.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) database: Secret,
    pub(crate) connections: u32,
    pub(crate) listen: SocketAddr,
    pub(crate) broker: Broker,
    /// Minimum age of a watermark. Younger ones are not accepted.
    pub(crate) least_retention: Duration,
}

/// Settings of `saga payment`.
#[derive(Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) service: Service,
    pub(crate) account: Account,
}

/// Settings for the payment service's connection to its provider.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) url: String,
    pub(crate) timeout: Duration,
    pub(crate) http2: bool,
    pub(crate) breaker: BreakerSettings,
}

/// Settings of `saga provider`.
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    pub(crate) listen: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) slow_after: Duration,
    pub(crate) very_slow_after: Duration,
}

/// Settings of `saga setup`.
#[derive(Clone, Debug)]
pub struct Setup {
    /// URL of any database on the server, for an administrator.
    pub admin: Option<Secret>,
    /// The orchestrator's database.
    pub orchestrator: Secret,
    /// The order service's database.
    pub order: Secret,
    /// The inventory service's database.
    pub inventory: Secret,
    /// The payment service's database.
    pub payment: Secret,
    /// Password of the database role for audits.
    pub auditor: Option<Secret>,
    /// The broker.
    pub broker: Broker,
}

/// Settings of `saga all`.
#[derive(Clone, Debug)]
pub struct All {
    /// Settings of `saga setup`, which `saga all` runs first.
    pub setup: Setup,
    pub(crate) orchestrator: Orchestrator,
    pub(crate) order: Service,
    pub(crate) inventory: Service,
    pub(crate) payment: Payment,
    pub(crate) provider: Provider,
}

/// Settings of `saga all --data-dir`, which runs every role in one process without any servers.
#[derive(Clone, Debug)]
pub(crate) struct Embedded {
    pub(crate) data_dir: PathBuf,
    pub(crate) front: Front,
    pub(crate) order: SocketAddr,
    pub(crate) inventory: SocketAddr,
    pub(crate) payment: SocketAddr,
    pub(crate) provider: Provider,
    pub(crate) provider_timeout: Duration,
    pub(crate) breaker: BreakerSettings,
}
