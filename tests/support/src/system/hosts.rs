//! The servers of a system: those that tests share, or own ones.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use super::REPLICATED;
use crate::{
    Postgres, RabbitMq, Servers,
    servers::{Parts, with_database},
};

/// The servers of a system.
#[derive(Debug)]
pub enum Hosts {
    /// Those that ordinary tests share: see [`Servers`]. The system has databases and a prefix of
    /// its own there.
    Shared,
    /// Own ones, for a test that kills or slows them.
    Own {
        /// The folder in which the database server's folder is created.
        database_parent: PathBuf,
        /// Environment variables of the database server.
        database_environment: BTreeMap<String, String>,
    },
}

/// The servers that only this system uses.
#[derive(Clone, Debug)]
pub struct Own {
    /// The system's database server.
    pub postgres: Arc<Postgres>,
    /// The system's broker.
    pub rabbitmq: Arc<RabbitMq>,
}

/// Where the servers are, and what this system calls its own there.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// URL of the database `postgres`, for the superuser.
    pub(super) postgres: String,
    pub(super) amqp: String,
    /// Prefix of the names of databases and their users.
    databases: String,
    /// Prefix of the names of exchanges and queues.
    pub(super) queues: String,
}

impl Hosts {
    /// Own servers, in the usual folder.
    #[must_use]
    pub fn own() -> Self {
        Self::Own { database_parent: std::env::temp_dir(), database_environment: BTreeMap::new() }
    }

    pub(super) async fn start(self) -> anyhow::Result<(Place, Option<Own>)> {
        tokio::task::spawn_blocking(|| match self {
            Self::Shared => Ok((Place::shared()?, None)),
            Self::Own { database_parent, database_environment } => {
                let start = move || Postgres::start_in(&database_parent, database_environment);
                let postgres = std::thread::spawn(start);
                let rabbitmq = Arc::new(RabbitMq::start()?);
                let postgres = postgres.join().expect("starting Postgres does not panic")?;
                let own = Own { postgres: Arc::new(postgres), rabbitmq };
                Ok((Place::of(&own), Some(own)))
            }
        })
        .await?
    }
}

impl Place {
    fn of(own: &Own) -> Self {
        Self {
            postgres: own.postgres.url("postgres"),
            amqp: own.rabbitmq.url(),
            databases: "saga_".to_owned(),
            queues: "test.".to_owned(),
        }
    }

    fn shared() -> anyhow::Result<Self> {
        let servers = Servers::shared();
        let queues = servers.fresh_prefix("system");
        Ok(Self {
            postgres: servers.try_postgres_url()?,
            amqp: servers.try_amqp_url()?,
            databases: queues.replace('.', "_"),
            queues,
        })
    }

    /// Returns the URL of a role's database, for the superuser.
    pub(super) fn database_url(&self, role: &str) -> String {
        with_database(&self.postgres, &self.database(role))
    }

    /// Returns the ports of the database server and of the broker, if their URLs have some.
    pub(super) fn ports(&self) -> Option<(u16, u16)> {
        Parts::of(&self.postgres).port().zip(Parts::of(&self.amqp).port())
    }

    /// Returns the same place as it is reached through these ports of this machine.
    pub(super) fn through(&self, postgres: u16, amqp: u16) -> Self {
        let at = |url: &str, port| {
            let Parts { before, path, options, .. } = Parts::of(url);
            format!("{before}127.0.0.1:{port}{path}{options}")
        };
        let (postgres, amqp) = (at(&self.postgres, postgres), at(&self.amqp, amqp));
        Self { postgres, amqp, ..self.clone() }
    }

    fn database(&self, role: &str) -> String {
        format!("{}{role}", self.databases)
    }

    /// Returns the environment variables of a process that uses the servers. Each database has a
    /// user of the same name.
    pub(super) fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::from([("SAGA_AMQP_URL".to_owned(), self.amqp.clone())]);
        let Parts { address, options, .. } = Parts::of(&self.postgres);
        for role in REPLICATED {
            let variable = format!("SAGA_{}_DATABASE_URL", role.to_uppercase());
            let name = self.database(role);
            let url = format!("postgres://{name}:test-{name}@{address}/{name}{options}");
            environment.insert(variable, url);
        }
        environment
    }
}
